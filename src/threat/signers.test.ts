import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { rawPublicKey } from './signature.ts'
import { isKeyText, openSigners, revokeSigner, type TrustedSigner, trustSigner } from './signers.ts'
import { ownHooks } from '../../tests/fixtures/own-hooks.ts'

let folder: string
let recorded: string[]
const record = (signer: TrustedSigner) => void recorded.push(signer.name)
const at = Date.UTC(2030, 0, 1)

const { beforeEach, afterEach } = ownHooks(import.meta.filename)
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mayfly-signers-'))
  recorded = []
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const unrecorded = () => {
  throw new Error('no record')
}

const newKey = () => rawPublicKey(generateKeyPairSync('ed25519').privateKey)
const trust = (key: string, name: string, tenant: string | null = null) =>
  trustSigner(folder, { key, name, tenant, at }, record)
const revoke = (keyOrName: string) => revokeSigner(folder, { keyOrName, at }, record)

test('S3-52: a key is valid from its trust to its revocation, without a restart', () => {
  const signers = openSigners(folder)
  const key = newKey()
  assert.equal(signers.trusts(key, 'acme'), false)
  assert.equal(trust(key, 'ada').changed, true)
  assert.equal(signers.trusts(key, 'acme'), true)
  assert.equal(revoke('ada').changed, true)
  assert.equal(signers.trusts(key, 'acme'), false)
  assert.deepEqual(recorded, ['ada', 'ada'])
  assert.equal(signers.list()[0]?.revokedAt, '2030-01-01T00:00:00.000Z')
})

test('A key trusted for one tenant signs no code of another', () => {
  const key = newKey()
  trust(key, 'ada', 'acme')
  const signers = openSigners(folder)
  assert.deepEqual([signers.trusts(key, 'acme'), signers.trusts(key, 'default')], [true, false])
})

test('A change without effect is not recorded; a revoked key stays revoked', () => {
  const key = newKey()
  trust(key, 'ada')
  assert.equal(trust(key, 'ada').changed, false)
  assert.throws(() => trust(key, 'eve'), { code: 'CONFLICT' })
  revoke(key)
  assert.equal(revoke(key).changed, false)
  assert.throws(() => trust(key, 'ada'), { code: 'CONFLICT' })
  assert.deepEqual(recorded, ['ada', 'ada'])
  assert.throws(() => revoke('nobody'), { code: 'NOT_FOUND' })
  for (const name of ['two', 'two']) trust(newKey(), name)
  assert.throws(() => revoke('two'), { code: 'CONFLICT' })
})

test('A change that cannot be recorded is not made', () => {
  const key = newKey()
  assert.throws(() => trustSigner(folder, { key, name: 'ada', tenant: null, at }, unrecorded), {
    code: 'STATE',
  })
  assert.equal(openSigners(folder).trusts(key, 'acme'), false)
  assert.deepEqual(readdirSync(folder), [])
})

test('The file is readable only by its owner, and a file that others may write is ignored', () => {
  const key = newKey()
  trust(key, 'ada')
  const file = join(folder, 'signers.json')
  assert.equal(statSync(file).mode & 0o777, 0o600)
  assert.deepEqual(readdirSync(folder), ['signers.json'])
  const signers = openSigners(folder)
  chmodSync(file, 0o620)
  assert.throws(() => signers.trusts(key, 'acme'), { code: 'STATE' })
  chmodSync(file, 0o600)
  assert.equal(signers.trusts(key, 'acme'), true)
  writeFileSync(file, '{"format":1,"signers":[{}]}')
  assert.throws(() => signers.trusts(key, 'acme'), { code: 'STATE' })
  assert.throws(() => trust(key, 'ada'), { code: 'STATE' })
})

test('Invalid keys are not listed', () => {
  for (const text of ['', 'AAAA', Buffer.alloc(32).toString('base64'), newKey().slice(0, -1)]) {
    assert.equal(isKeyText(text), false)
  }
})

test('A signer whose name or tenant the list could not be read with is refused, and the list stays', () => {
  const key = newKey()
  trust(key, 'ada')
  assert.throws(() => trust(newKey(), ''), { code: 'INVALID' })
  assert.throws(() => trust(newKey(), 'x'.repeat(101)), { code: 'INVALID' })
  assert.throws(() => trust(newKey(), 'eve', ''), { code: 'INVALID' })
  assert.equal(openSigners(folder).trusts(key, 'acme'), true)
  assert.deepEqual(recorded, ['ada'])
})
