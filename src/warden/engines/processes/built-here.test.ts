import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { playedSigner } from '../../../../tests/fixtures/images.ts'
import { plantedManifest } from '../../../../tests/fixtures/plant-image.ts'
import {
  manifestStatement,
  type ImageManifest,
  type StatementSigner,
} from '../../../images/manifest.ts'
import { imageFolder, openImageStore } from '../../../images/store.ts'
import { signerFolder } from '../../../lib/state-folder.ts'
import { openImageSigner } from '../../image-signer.ts'
import { isBuiltHere } from './built-here.ts'

const recipe = 'a'.repeat(64)
const origin = { kind: 'oci', manifest: recipe, config: recipe, layers: [recipe] } as const

test('Attack: an image counts as built here only by a manifest of this store that has a recipe and no origin', () => {
  const root = mkdtempSync(join(tmpdir(), 'mayfly-built-'))
  const state = join(root, 'state')
  try {
    assert.equal(isBuiltHere(state, recipe), false)
    for (const folder of [state, signerFolder(state)])
      mkdirSync(folder, { recursive: true, mode: 0o700 })
    const signer = openImageSigner(signerFolder(state))
    const add = (text: string, about: Partial<ImageManifest>, by: StatementSigner = signer) =>
      addImage(state, text, about, by)
    assert.equal(isBuiltHere(state, add('built', { recipe })), true)
    assert.equal(isBuiltHere(state, add('imported', { origin })), false)
    assert.equal(isBuiltHere(state, add('both', { recipe, origin })), false)
    assert.equal(isBuiltHere(state, add('neither', {})), false)
    assert.equal(isBuiltHere(state, add('of others', { recipe }, playedSigner())), false)
    const again = add('imported again', { recipe })
    add('imported again', { origin })
    assert.equal(isBuiltHere(state, again), false)
    const file = join(imageFolder(state), 'manifests', `${again}.json`)
    writeFileSync(file, '{')
    assert.equal(isBuiltHere(state, again), false)
    assert.equal(isBuiltHere(state, 'f'.repeat(64)), false)
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
})

/** Adds a played image, and returns its digest. */
function addImage(
  state: string,
  text: string,
  about: Partial<ImageManifest>,
  { publicKey, sign }: StatementSigner,
): string {
  using store = openImageStore(imageFolder(state))
  const file = join(store.work, 'image')
  writeFileSync(file, text)
  const digest = createHash('sha256').update(text).digest('hex')
  const manifest = plantedManifest({ digest, size: text.length, ...about })
  const signature = sign(manifestStatement(manifest, publicKey))
  store.add(file, { manifest, key: publicKey, signature }, { tags: [] })
  return digest
}
