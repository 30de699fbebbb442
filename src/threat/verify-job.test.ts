import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { suite, test } from 'node:test'
import { loadConfig } from '../config/load.ts'
import type { JobRequest, Language } from '../contract/job.ts'
import { systemClock } from '../contract/clock.ts'
import type { PackageLayer } from '../contract/layer.ts'
import type { Envelope } from '../contract/signature.ts'
import { newJob } from '../job.ts'
import { rawPublicKey, signEnvelope } from './signature.ts'
import { createVerifier } from './verify-job.ts'

const code = 'return 1'
const now = Date.UTC(2030, 0, 1)
const ada = makeKey()
const bob = makeKey()
const mallory = makeKey()

interface World {
  readonly trusted?: readonly KeyObject[]
  readonly config?: Record<string, unknown>
  readonly tenant?: string
  readonly packages?: readonly PackageLayer[]
}

function verify(
  asked: JobRequest,
  { trusted = [ada, bob], config = {}, tenant = 'default', packages = [] }: World = {},
) {
  const loaded = loadConfig({ object: config, env: { XDG_STATE_HOME: '/state' }, cwd: '/' })
  const keys = trusted.map(rawPublicKey)
  const verifier = createVerifier({
    config: () => loaded.config,
    signers: { trusts: (key) => keys.includes(key) },
    date: () => now,
  })
  const caller = { tenant, principal: 'p', origin: 'library', packages } as const
  const signed = verifier(newJob(asked, caller, systemClock))
  return signed.kind === 'refused' ? signed.error.code : signed.kind
}

suite('An envelope', () => {
  test('S3-24: an envelope is valid for its own code, by a trusted key', () => {
    assert.equal(verify({ code, signature: envelope(ada) }), 'valid')
    assert.equal(verify({ code }), 'unsigned')
  })

  test('S3-24: one flipped byte of the code, or of any field, makes it invalid', () => {
    const good = envelope(ada)
    assert.equal(verify({ code, signature: good }), 'valid')
    assert.equal(verify({ code: 'return 2', signature: good }), 'SIGNATURE_INVALID')
    const wrong: readonly Partial<Envelope>[] = [
      { language: 'javascript' },
      { code: good.code.replace(/.$/, (last) => (last === '0' ? '1' : '0')) },
      { capabilities: ['network'] },
      { expires: null },
      { expires: new Date(now + 2).toISOString() },
      { files: {} },
      { key: rawPublicKey(bob) },
      { key: `${good.key} ` },
      { signature: good.signature.replace(/^./, (first) => (first === 'A' ? 'B' : 'A')) },
      { signature: good.signature.replace(/==$/, '') },
      { signature: '' },
    ]
    for (const change of wrong)
      assert.equal(
        verify({ code, signature: { ...good, ...change } }),
        'SIGNATURE_INVALID',
        JSON.stringify(change),
      )
    // A job that fits the changed field, so that the signature alone refuses it.
    const ofContent = (content: string) => [{ path: 'a.js', content, encoding: 'utf8' as const }]
    const [files, others] = [ofContent('1'), ofContent('2')]
    const full = envelope(ada, { files, language: 'js' })
    const made = envelope(ada, { source: 'return 2', files: others })
    assert.equal(verify({ code, files, signature: full }), 'valid')
    for (const [job, change] of [
      [{ files: others }, { files: made.files }],
      [{ language: 'python' }, { language: 'python' }],
      [{ code: 'return 2' }, { code: made.code }],
    ] as const)
      assert.equal(
        verify({ code, files, ...job, signature: { ...full, ...change } }),
        'SIGNATURE_INVALID',
        JSON.stringify(change),
      )
  })

  test('S3-24: an envelope of a language is valid for no other, and one without a language for each', () => {
    const only = envelope(ada, { language: 'js' })
    const python = { code, language: 'python' } as const
    for (const language of [undefined, 'js', 'ts', 'node'] as const)
      assert.equal(verify({ code, ...(language && { language }), signature: only }), 'valid')
    for (const language of ['python', 'bash', 'sh', 'wasm'] as const)
      for (const signature of [only, [envelope(bob), only]])
        assert.equal(verify({ code, language, signature }), 'SIGNATURE_INVALID', language)
    assert.equal(verify({ ...python, signature: envelope(ada) }), 'valid')
    const { language: _, ...stripped } = only
    assert.equal(verify({ ...python, signature: stripped }), 'SIGNATURE_INVALID')
    const script = '#!/usr/bin/env bash\ntrue'
    const shell = envelope(ada, { language: 'sh', source: script })
    assert.equal(verify({ code: script, signature: shell }), 'valid')
  })

  test('A key that was revoked for a tenant is refused with that reason to this tenant alone', () => {
    const key = rawPublicKey(mallory)
    const revokedAt = '2030-01-01T00:00:00.000Z'
    const verifier = createVerifier({
      config: () => ({ signing: { required: false, signers: 1 }, tenants: [] }),
      signers: {
        trusts: () => false,
        list: () => [{ key, name: 'm', tenant: 'acme', trustedAt: revokedAt, revokedAt }],
      },
      date: () => now,
    })
    const messageFor = (tenant: string) => {
      const owner = { tenant, principal: 'p', origin: 'http' } as const
      const signed = verifier(newJob({ code, signature: envelope(mallory) }, owner, systemClock))
      return signed.kind === 'refused' ? signed.error.message : ''
    }
    assert.match(messageFor('acme'), /was revoked$/)
    assert.match(messageFor('other'), /is not trusted$/)
  })

  test('S3-24: a valid envelope by an untrusted key is SIGNER_UNKNOWN', () => {
    assert.equal(verify({ code, signature: envelope(mallory) }), 'SIGNER_UNKNOWN')
  })

  test('an envelope expires, and its expiry has one canonical spelling', () => {
    assert.equal(verify({ code, signature: envelope(ada, { expires: now + 1 }) }), 'valid')
    assert.equal(verify({ code, signature: envelope(ada, { expires: now }) }), 'SIGNATURE_INVALID')
    assert.equal(verify({ code, signature: envelope(ada, { expires: null }) }), 'valid')
  })

  test('an envelope covers exactly the files it was made with', () => {
    const files = [{ path: 'a.js', content: 'export default 1', encoding: 'utf8' as const }]
    const signature = envelope(ada, { files })
    assert.equal(verify({ code, files, signature }), 'valid')
    const none = envelope(ada)
    assert.equal(verify({ code, files: [], signature }), 'SIGNATURE_INVALID')
    assert.equal(verify({ code, files: [], signature: [none, signature] }), 'SIGNATURE_INVALID')
    assert.equal(verify({ code, files: [], signature: none }), 'valid')
    const swapped = [{ ...files[0]!, content: 'export default 2' }]
    assert.equal(verify({ code, files: swapped, signature }), 'SIGNATURE_INVALID')
    const more = [...files, { path: '__proto__', content: '', encoding: 'utf8' as const }]
    assert.equal(verify({ code, files: more, signature }), 'SIGNATURE_INVALID')
    assert.equal(verify({ code, files, signature: envelope(ada) }), 'SIGNATURE_INVALID')
  })
})

suite('A raw signature', () => {
  test('a raw signature covers the UTF-8 bytes of the code', () => {
    const text = 'return "Zürich 🌍"'
    const publicKey = rawPublicKey(ada)
    assert.equal(verify({ code: text, signature: raw(text), publicKey }), 'valid')
    assert.equal(verify({ code: `${text} `, signature: raw(text), publicKey }), 'SIGNATURE_INVALID')
  })

  test('a raw signature without its key, a key alone, and a raw signature with files are invalid', () => {
    const publicKey = rawPublicKey(ada)
    assert.equal(verify({ code, signature: raw(code) }), 'SIGNATURE_INVALID')
    assert.equal(verify({ code, publicKey }), 'SIGNATURE_INVALID')
    assert.equal(verify({ code, signature: envelope(ada), publicKey }), 'SIGNATURE_INVALID')
    const files = [{ path: 'a.js', content: '' }]
    assert.equal(verify({ code, files, signature: raw(code), publicKey }), 'SIGNATURE_INVALID')
  })

  test('a raw signature over an envelope statement is invalid: neither kind converts into the other', () => {
    const { signature, ...rest } = envelope(ada)
    const members = Object.entries(rest).sort(([a], [b]) => (a < b ? -1 : 1))
    const statement = `mayfly-signature/1\n${JSON.stringify(Object.fromEntries(members))}`
    assert.equal(signature, raw(statement))
    const publicKey = rawPublicKey(ada)
    assert.equal(verify({ code: statement, signature, publicKey }), 'SIGNATURE_INVALID')
  })

  test('Text without a UTF-8 form has no signature', () => {
    const publicKey = rawPublicKey(ada)
    assert.equal(
      verify({ code: '"\ud800"', signature: raw('"\ufffd"'), publicKey }),
      'SIGNATURE_INVALID',
    )
  })
})

suite('Signed code only', () => {
  const required = { signing: { required: true } }

  test('Code without a signature is SIGNATURE_REQUIRED, for every tenant or for one', () => {
    assert.equal(verify({ code }, { config: required }), 'SIGNATURE_REQUIRED')
    assert.equal(verify({ code, signature: envelope(ada) }, { config: required }), 'valid')
    const config = { tenants: [{ name: 'acme', signing: { required: true } }] }
    assert.equal(verify({ code }, { config, tenant: 'acme' }), 'SIGNATURE_REQUIRED')
    assert.equal(verify({ code }, { config }), 'unsigned')
  })

  test('A tenant cannot require less than the global setting', () => {
    const config = { ...required, tenants: [{ name: 'acme', signing: { required: false } }] }
    assert.equal(verify({ code }, { config, tenant: 'acme' }), 'SIGNATURE_REQUIRED')
  })

  test('S3-51: with two signers required, one alone and the same one twice are refused', () => {
    const config = { signing: { required: true, signers: 2 } }
    const [a, b] = [envelope(ada), envelope(bob)]
    assert.equal(verify({ code, signature: a }, { config }), 'SIGNATURE_REQUIRED')
    assert.equal(verify({ code, signature: [a, a] }, { config }), 'SIGNATURE_REQUIRED')
    assert.equal(verify({ code, signature: [a, b] }, { config }), 'valid')
    const c = envelope(mallory)
    assert.equal(verify({ code, signature: [a, b, c] }, { config }), 'SIGNER_UNKNOWN')
  })

  test('Packages, which no signature covers, are refused where signatures are required, and files in their place are not', () => {
    const packages: readonly PackageLayer[] = [
      { kind: 'python', layer: 'a'.repeat(64), files: 1, bytes: 1 },
    ]
    const [whole, publicKey] = [envelope(ada), rawPublicKey(ada)]
    const acme = { tenants: [{ name: 'acme', signing: { required: true } }] }
    for (const signed of [{ signature: whole }, { signature: raw(code), publicKey }]) {
      const job = { code, ...signed }
      assert.equal(verify(job, { config: required, packages }), 'SIGNATURE_REQUIRED')
      assert.equal(verify(job, { config: acme, tenant: 'acme', packages }), 'SIGNATURE_REQUIRED')
      assert.equal(verify(job, { config: required }), 'valid')
      assert.equal(verify(job, { packages }), 'valid')
    }
    const files = [{ path: 'helper.py', content: 'x = 1', encoding: 'utf8' as const }]
    const signature = envelope(ada, { files })
    assert.equal(verify({ code, files, signature }, { config: required }), 'valid')
  })

  test('If the list of signers is unreadable, nothing runs', () => {
    const loaded = loadConfig({ object: {}, env: { XDG_STATE_HOME: '/state' }, cwd: '/' })
    const verifier = createVerifier({
      config: () => loaded.config,
      signers: {
        trusts() {
          throw new Error('the disk is gone')
        },
      },
      date: () => now,
    })
    const who = { tenant: 'default', principal: 'p', origin: 'http' } as const
    const signed = verifier(newJob({ code, signature: envelope(ada) }, who, systemClock))
    assert.equal(signed.kind, 'refused')
  })
})

function raw(text: string, key = ada): string {
  return sign(null, Buffer.from(text), key).toString('base64')
}

function makeKey(): KeyObject {
  return generateKeyPairSync('ed25519').privateKey
}

function envelope(
  key: KeyObject,
  {
    files = [],
    expires = now + 1000,
    language,
    source = code,
  }: {
    readonly files?: readonly { path: string; content: string; encoding: 'utf8' | 'base64' }[]
    readonly expires?: number | null
    readonly language?: Language
    readonly source?: string
  } = {},
): Envelope {
  return signEnvelope({ code: source, files, language }, key, { capabilities: [], expires })
}
