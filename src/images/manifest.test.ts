import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { playedSigner } from '../../tests/fixtures/images.ts'
import { manifestStatement, whyManifestUntrusted, type ImageManifest } from './manifest.ts'

const signer = playedSigner()
const key = signer.publicKey
const digest = 'a'.repeat(64)
const manifest: Required<ImageManifest> = {
  format: 1,
  name: 'played',
  form: 'archive',
  function: 'Played',
  digest,
  size: 1,
  suite: 'trixie',
  architecture: 'amd64',
  recipe: digest,
  origin: { kind: 'oci', manifest: digest, config: digest, layers: [digest] },
  packages: [{ name: 'one', version: '1', size: 1, sha256: digest }],
  programs: [],
  files: 1,
  unpacked: 1,
  sbom: digest,
  maker: 'erofs-utils 1',
  at: 1,
}
const signed = { manifest, key, signature: signer.sign(manifestStatement(manifest, key)) }

suite('Signed manifests', () => {
  test('A manifest is accepted if the key of the state folder signed it', () => {
    assert.equal(whyManifestUntrusted(signed, key), undefined)
    assert.match(whyManifestUntrusted(signed, undefined) ?? '', /no key/)
  })

  test('Attack: a manifest with any field changed is refused', () => {
    for (const [name, value] of Object.entries(manifest)) {
      const other = {
        number: () => Number(value) + 1,
        string: () => `${value as string}b`,
        object: () =>
          Array.isArray(value) ? [...value, {}] : { ...(value as object), layers: [] },
      }[typeof value as 'number' | 'string' | 'object']()
      const changed = { ...signed, manifest: { ...manifest, [name]: other } as ImageManifest }
      assert.match(whyManifestUntrusted(changed, key) ?? '', /signature is wrong/, name)
    }
  })

  test('Attack: a manifest signed by another key is refused', () => {
    const other = playedSigner()
    const own = {
      manifest,
      key: other.publicKey,
      signature: other.sign(manifestStatement(manifest, other.publicKey)),
    }
    assert.match(whyManifestUntrusted(own, key) ?? '', /another key/)
    assert.match(whyManifestUntrusted({ ...own, key }, key) ?? '', /signature is wrong/)
  })

  test('Attack: a signature in another encoding is refused', () => {
    for (const signature of ['', 'a', `${signed.signature}=`, ` ${signed.signature}`])
      assert.match(whyManifestUntrusted({ ...signed, signature }, key) ?? '', /unreadable/)
  })
})
