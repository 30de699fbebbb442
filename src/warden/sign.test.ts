import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { chainStart, chainStep } from '../lib/hash-chain.ts'
import { sha256 } from '../lib/hash.ts'
import { digestsMax, lastSigned, openSigner } from './sign.ts'
import { ownHooks } from '../../tests/fixtures/own-hooks.ts'

const [a, b, c] = ['a', 'b', 'c'].map((text) => sha256(text)) as [string, string, string]
const start = { seq: 0, head: chainStart }

let root: string
let folder: string
const { beforeEach, afterEach } = ownHooks(import.meta.filename)
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'mayfly-sign-'))
  folder = join(root, 'keys')
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

test('The key is made on first use, for its owner alone, and stays', () => {
  const first = openSigner(folder)
  first.close()
  assert.equal(statSync(folder).mode & 0o777, 0o700)
  assert.equal(statSync(join(folder, 'checkpoint.key')).mode & 0o777, 0o600)
  const again = openSigner(folder)
  assert.equal(again.publicKey, first.publicKey)
  assert.equal(Buffer.from(again.publicKey, 'base64').length, 32)
  again.close()
})

test('A signer chains the digests itself and remembers the head it signed', () => {
  const signer = openSigner(folder)
  const one = signer.sign([a, b], start, 5)
  assert.deepEqual([one.seq, one.head, one.at], [2, chainStep(chainStep(chainStart, a), b), 5])
  signer.close()
  const again = openSigner(folder)
  const two = again.sign([c], one, 6)
  again.close()
  assert.equal(two.seq, 3)
  assert.deepEqual(lastSigned(folder), two)
})

test('A signer refuses every head that does not extend the last it signed', () => {
  const signer = openSigner(folder)
  const signed = signer.sign([a, b], start, 1)
  const conflict = { code: 'CONFLICT' }
  const past = { seq: 1, head: chainStep(chainStart, a) }
  assert.throws(() => signer.sign([a, c], start, 2), conflict, 'another second line')
  assert.throws(() => signer.sign([a], start, 2), conflict, 'a shorter log')
  assert.throws(() => signer.sign([c], past, 2), conflict, 'another past')
  assert.throws(() => signer.sign([c], { seq: 3, head: signed.head }, 2), conflict, 'a gap')
  assert.throws(() => signer.sign([c], { ...signed, head: a }, 2), conflict, 'a made-up head')
  assert.deepEqual(lastSigned(folder), signed)
  assert.equal(signer.sign([c], signed, 2).seq, 3)
  signer.close()
})

test('A signer that is ahead signs a chain that passes through its last head', () => {
  const signer = openSigner(folder)
  signer.sign([a, b], start, 1)
  assert.equal(signer.sign([a, b, c], start, 2).seq, 3)
  signer.close()
})

test('Two wardens on one folder cannot sign two pasts', () => {
  const [one, other] = [openSigner(folder), openSigner(folder)]
  assert.equal(one.publicKey, other.publicKey)
  one.sign([a], start, 1)
  assert.throws(() => other.sign([b], start, 1), { code: 'CONFLICT' })
  one.close()
  other.close()
})

test('A malformed list of digests is refused before anything is signed', () => {
  const signer = openSigner(folder)
  const invalid = { code: 'INVALID' }
  for (const digests of [
    [''],
    [a.toUpperCase()],
    [`${a}\n`],
    [1],
    'x',
    null,
    Array(digestsMax + 1).fill(a),
  ])
    assert.throws(() => signer.sign(digests as string[], start, 1), invalid)
  assert.throws(() => signer.sign([a], { seq: -1, head: chainStart }, 1), invalid)
  assert.throws(() => signer.sign([a], start, Number.NaN), invalid)
  assert.equal(lastSigned(folder), undefined)
  signer.close()
})

test('A torn key or head file is an error, never a new key', () => {
  openSigner(folder).close()
  writeFileSync(join(folder, 'signed.db'), 'torn')
  assert.throws(() => openSigner(folder), { code: 'STATE' })
  assert.throws(() => lastSigned(folder), { code: 'STATE' })
  rmSync(join(folder, 'signed.db'))
  writeFileSync(join(folder, 'checkpoint.key'), '')
  assert.throws(() => openSigner(folder), { code: 'STATE' })
})

test('A key other than the one that signed is refused', () => {
  const signer = openSigner(folder)
  signer.sign([a], start, 1)
  signer.close()
  rmSync(join(folder, 'checkpoint.key'))
  assert.throws(() => openSigner(folder), { code: 'STATE', message: /not the one that signed/ })
})
