import assert from 'node:assert/strict'
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { expiryDate } from '../../contract/clock.ts'
import { sha256 } from '../../lib/hash.ts'
import { createKey, apiKeysFile, revokeKey } from './key-store.ts'
import { openKeys } from './keys.ts'

async function stateFolder() {
  const path = await mkdtemp(join(tmpdir(), 'mayfly-keys-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

test('The first start creates an admin key, shows it once and stores only its digest', async () => {
  await using folder = await stateFolder()
  const { keys, created } = await openKeys({ folder: folder.path })
  assert.match(created ?? '', /^mfy_[\w-]{43}$/)
  assert.deepEqual(keys.find(created!)?.scopes, ['admin'])
  const file = join(folder.path, 'keys.json')
  assert.equal((await stat(file)).mode & 0o777, 0o600)
  assert.ok(!(await readFile(file, 'utf8')).includes(created!))
  assert.deepEqual(await readdir(folder.path), ['keys.json'])
  const again = await openKeys({ folder: folder.path })
  assert.equal(again.created, null)
  assert.ok(again.keys.find(created!))
})

test('Ten concurrent first starts agree on one key', async () => {
  await using folder = await stateFolder()
  const opened = await Promise.all(
    Array.from({ length: 10 }, () => openKeys({ folder: folder.path })),
  )
  const created = opened.map((one) => one.created).filter((key) => key !== null)
  assert.equal(created.length, 1)
  for (const { keys } of opened) assert.ok(keys.find(created[0]!))
})

test('A key given by the operator that has an entry of its own keeps the tenant and the scopes of that', async () => {
  await using folder = await stateFolder()
  const file = apiKeysFile(folder.path)
  const wanted = { tenant: 'acme', scopes: ['run'], expires: null, at: 0 } as const
  const { key, stored } = createKey(file, wanted, () => undefined)
  const opened = await openKeys({ folder: folder.path, first: key })
  assert.deepEqual(opened.keys.find(key)?.scopes, ['run'])
  revokeKey(file, { idOrName: stored.id, at: 1 }, () => undefined)
  assert.equal(opened.keys.find(key), undefined)

  const first = 'k'.repeat(32)
  const tenants = [{ name: 'acme', keys: [`sha256:${sha256(first)}`] }]
  const { keys } = await openKeys({ first, tenants })
  const { tenant, scopes } = keys.find(first)!
  assert.deepEqual([tenant, scopes], ['acme', ['run', 'read']])
})

test('A key given by the operator is the first, and no other is created', async () => {
  await using folder = await stateFolder()
  const first = 'k'.repeat(32)
  const { keys, created } = await openKeys({ folder: folder.path, first })
  assert.equal(created, null)
  assert.deepEqual(keys.find(first)?.scopes, ['admin'])
  assert.deepEqual(await readdir(folder.path), [])
  for (const bad of ['short', 'k'.repeat(31), `${'k'.repeat(40)} `, 'k'.repeat(513)]) {
    await assert.rejects(openKeys({ first: bad }), { code: 'CONFIG' })
  }
})

test('A tenant key has the scopes run and read in that tenant', async () => {
  const key = 'mfy_'.padEnd(40, 'x')
  const { keys } = await openKeys({ tenants: [{ name: 'acme', keys: [`sha256:${sha256(key)}`] }] })
  assert.deepEqual([keys.find(key)?.tenant, keys.find(key)?.scopes], ['acme', ['run', 'read']])
  await assert.rejects(openKeys({ tenants: [{ name: 'acme', keys: ['sha256:12'] }] }), {
    code: 'CONFIG',
  })
})

test('An unknown, truncated or extended key authenticates no caller', async () => {
  const { keys, created } = await openKeys({})
  for (const key of ['', created!.slice(0, -1), `${created}x`, 'x'.repeat(47), 'é'.repeat(47)]) {
    assert.equal(keys.find(key), undefined)
  }
})

test('A key store that is corrupt, or readable by others, is a STATE error and stays unchanged', async () => {
  await using folder = await stateFolder()
  const file = join(folder.path, 'keys.json')
  await writeFile(file, '{"format":1,"keys":[{}]}', { mode: 0o600 })
  await assert.rejects(openKeys({ folder: folder.path }), { code: 'STATE' })
  await rm(file)
  await openKeys({ folder: folder.path })
  await chmod(file, 0o644)
  await assert.rejects(openKeys({ folder: folder.path }), { code: 'STATE', detail: /other users/ })
})

const quiet = () => undefined
const refuse = () => assert.fail('no record')

test('A key created while the server runs works with the next request, until it is revoked', async () => {
  await using folder = await stateFolder()
  const { keys } = await openKeys({ folder: folder.path })
  const file = apiKeysFile(folder.path)
  const wanted = { tenant: 'acme', scopes: ['run'], name: 'ci', expires: null, at: 0 } as const
  const { key, stored } = createKey(file, wanted, quiet)
  assert.deepEqual(keys.find(key), {
    id: stored.id,
    tenant: 'acme',
    principal: `key:${stored.id}`,
    scopes: ['run'],
  })
  assert.ok(!(await readFile(file, 'utf8')).includes(key))
  revokeKey(file, { idOrName: 'ci', at: 1 }, quiet)
  assert.equal(keys.find(key), undefined)
  assert.throws(() => revokeKey(file, { idOrName: 'ci', at: 2 }, quiet), { code: 'NOT_FOUND' })
})

test('A key ends when it expires, to the millisecond', async () => {
  await using folder = await stateFolder()
  let now = 1_000
  const { keys } = await openKeys({ folder: folder.path, date: () => now })
  const wanted = { tenant: 'acme', scopes: ['read'], expires: 2_000, at: now } as const
  const { key } = createKey(apiKeysFile(folder.path), wanted, quiet)
  now = 1_999
  assert.ok(keys.find(key))
  now = 2_000
  assert.equal(keys.find(key), undefined)
})

test('A key that has expired stays so when the clock is set back', async () => {
  await using folder = await stateFolder()
  const played = { at: 0, wall: 1_000 }
  const date = expiryDate({ now: () => played.at, date: () => played.wall })
  const { keys } = await openKeys({ folder: folder.path, date })
  const wanted = { tenant: 'acme', scopes: ['read'], expires: 2_000, at: 1_000 } as const
  const { key } = createKey(apiKeysFile(folder.path), wanted, quiet)
  played.at = 999
  assert.ok(keys.find(key))
  played.at = 1_000
  assert.equal(keys.find(key), undefined)
})

test('A store that breaks while the server runs authenticates no caller', async () => {
  await using folder = await stateFolder()
  const { keys, created } = await openKeys({ folder: folder.path })
  await writeFile(apiKeysFile(folder.path), 'nothing')
  assert.throws(() => keys.find(created!), { code: 'STATE' })
  await rm(apiKeysFile(folder.path))
  assert.equal(keys.find(created!), undefined)
})

test('A key that cannot be recorded is not created', async () => {
  await using folder = await stateFolder()
  const wanted = { tenant: 'acme', scopes: ['run'], expires: null, at: 0 } as const
  assert.throws(() => createKey(apiKeysFile(folder.path), wanted, refuse), { code: 'STATE' })
  assert.deepEqual(await readdir(folder.path), [])
})

test('A key whose name the store could not be read with is refused, and the store and its keys stay', async () => {
  await using folder = await stateFolder()
  const { keys, created } = await openKeys({ folder: folder.path })
  const wanted = { tenant: 'acme', scopes: ['run'], expires: null, at: 0 } as const
  for (const wrong of [{ name: '' }, { name: 'x'.repeat(101) }, { tenant: 't'.repeat(65) }]) {
    const create = () => createKey(apiKeysFile(folder.path), { ...wanted, ...wrong }, refuse)
    assert.throws(create, { code: 'INVALID' })
  }
  assert.ok(keys.find(created!))
  const longest = { ...wanted, name: 'x'.repeat(100) }
  const { key } = createKey(apiKeysFile(folder.path), longest, quiet)
  assert.ok(keys.find(key))
})
