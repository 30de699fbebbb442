import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import type { Effect } from '../contract/effect.ts'
import { envelopeFormat } from '../contract/signature.ts'
import { openEffectStore } from './store.ts'

const effect = (effectId: string, code = 'return 1'): Effect => ({
  effectId,
  code,
  language: 'js',
  timeout: 5000,
  memoryLimit: 128,
  registeredBy: 'ada',
  registeredAt: 1,
  codeDigest: 'sha256:',
  security: { threatScore: 0, severity: 'low', signatureValid: false },
})

test('An effect belongs to its tenant: another neither sees, lists nor removes it', () => {
  const store = openEffectStore(':memory:')
  store.put('a', effect('x', 'return "ä"'))
  assert.deepEqual(store.get('a', 'x'), effect('x', 'return "ä"'))
  assert.equal(store.get('b', 'x'), undefined)
  assert.deepEqual(store.list('b'), [])
  assert.equal(store.remove('b', 'x'), false)
  assert.equal(store.remove('a', 'x'), true)
  assert.equal(store.get('a', 'x'), undefined)
})

test('A list is sorted by name and contains no code', () => {
  const store = openEffectStore(':memory:')
  for (const name of ['b', 'a']) store.put('a', effect(name))
  assert.deepEqual(
    store.list('a').map(({ effectId }) => effectId),
    ['a', 'b'],
  )
  assert.ok(!('code' in store.list('a')[0]!))
})

test('A tenant has limits on count and code bytes; replacing needs no more room', () => {
  const store = openEffectStore(':memory:', { countMax: 2, bytesMax: 10 })
  store.put('a', effect('x', '12345'))
  store.put('a', effect('y', '12345'))
  store.put('a', effect('y', 'abcde'))
  assert.equal(store.get('a', 'y')?.code, 'abcde')
  assert.throws(() => store.put('a', effect('z', '')), { code: 'CONFLICT' })
  assert.throws(() => store.put('a', effect('y', '123456')), { code: 'CONFLICT' })
  store.put('b', effect('z'))
})

test('Attack: signatures of effects, which may be megabytes, count for the limit of bytes of a tenant', () => {
  const store = openEffectStore(':memory:', { bytesMax: 8000 })
  const files = Object.fromEntries(
    Array.from({ length: 50 }, (_, n) => [`file-${n}`, `sha256:${'0'.repeat(64)}`]),
  )
  const envelope = {
    format: envelopeFormat,
    code: '',
    files,
    capabilities: [],
    expires: null,
  } as const
  const signature = { ...envelope, key: '', signature: '' }
  store.put('a', { ...effect('x'), signature })
  assert.throws(() => store.put('a', { ...effect('y'), signature }), { code: 'CONFLICT' })
  store.put('a', { ...effect('x'), signature })
  store.put('a', effect('y'))
})

test('Effects survive the process, in a file with mode 0600', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-effects-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'effects.db')
  const first = openEffectStore(path)
  first.put('a', effect('x'))
  first.close()
  const second = openEffectStore(path)
  assert.deepEqual(second.get('a', 'x'), effect('x'))
  assert.equal(statSync(path).mode & 0o777, 0o600)
  second.close()
})

test('A file of another format is refused, and one that is no database too', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-effects-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'effects.db')
  openEffectStore(path).close()
  const db = new DatabaseSync(path)
  db.exec('UPDATE meta SET format = 2')
  db.close()
  assert.throws(() => openEffectStore(path), { code: 'STATE', message: /its format is "2"/ })
  assert.throws(() => openEffectStore(folder), {
    code: 'STATE',
    message: /Cannot open the effects/,
  })
})
