import assert from 'node:assert/strict'
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { sha256 } from '../lib/hash.ts'
import { openKeys } from './keys.ts'

async function stateFolder() {
  const path = await mkdtemp(join(tmpdir(), 'mayfly-keys-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

test('The first start makes an admin key, tells it once and keeps its digest alone', async () => {
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

test('Ten first starts at once agree on one key', async () => {
  await using folder = await stateFolder()
  const opened = await Promise.all(
    Array.from({ length: 10 }, () => openKeys({ folder: folder.path })),
  )
  const created = opened.map((one) => one.created).filter((key) => key !== null)
  assert.equal(created.length, 1)
  for (const { keys } of opened) assert.ok(keys.find(created[0]!))
})

test('A key that is handed in is the first, and no other is made', async () => {
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

test('A key of a tenant runs and reads in that tenant', async () => {
  const key = 'mfy_'.padEnd(40, 'x')
  const { keys } = await openKeys({ tenants: [{ name: 'acme', keys: [`sha256:${sha256(key)}`] }] })
  assert.deepEqual([keys.find(key)?.tenant, keys.find(key)?.scopes], ['acme', ['run', 'read']])
  await assert.rejects(openKeys({ tenants: [{ name: 'acme', keys: ['sha256:12'] }] }), {
    code: 'CONFIG',
  })
})

test('A key that is not known, cut, or longer by one character is nobody', async () => {
  const { keys, created } = await openKeys({})
  for (const key of ['', created!.slice(0, -1), `${created}x`, 'x'.repeat(47), 'é'.repeat(47)]) {
    assert.equal(keys.find(key), undefined)
  }
})

test('A key store that is broken, or that others may read, is a STATE error and is left as it is', async () => {
  await using folder = await stateFolder()
  const file = join(folder.path, 'keys.json')
  await writeFile(file, '{"format":1,"keys":[{}]}', { mode: 0o600 })
  await assert.rejects(openKeys({ folder: folder.path }), { code: 'STATE' })
  await rm(file)
  await openKeys({ folder: folder.path })
  await chmod(file, 0o644)
  await assert.rejects(openKeys({ folder: folder.path }), { code: 'STATE', detail: /others/ })
})
