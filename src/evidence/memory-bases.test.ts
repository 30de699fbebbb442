import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { sha256 } from '../lib/hash.ts'
import { retentionMs } from './bodies.ts'
import { openMemoryBase, openMemoryBases } from './memory-bases.ts'
import { ownHooks } from '../../tests/fixtures/own-hooks.ts'

const MIB = 2 ** 20
let state: string
let now: number
const { beforeEach, afterEach } = ownHooks(import.meta.filename)
beforeEach(() => {
  state = mkdtempSync(join(tmpdir(), 'mayfly-bases-'))
  now = Date.now()
})
afterEach(() => rmSync(state, { recursive: true, force: true }))

/** Sparse file with some bytes in its middle. */
function template(text: string) {
  const path = join(state, `template-${text}`)
  const bytes = Buffer.alloc(8 * MIB + 4096)
  bytes.write(text, 5 * MIB)
  writeFileSync(path, bytes)
  return { path, sha256: sha256(bytes) }
}

const bases = () => openMemoryBases(state, { now: () => now, countMax: 2 })
const kept = () => readdirSync(join(state, 'memory-bases')).toSorted()

test('The memory of a template is kept once, sparse and unchanged, after the template is gone', async () => {
  const base = template('one')
  const bytes = readFileSync(base.path)
  assert.equal(await bases().keep(base), undefined)
  rmSync(base.path)
  assert.equal(await bases().keep(base), undefined)
  assert.deepEqual(kept(), [base.sha256])
  const place = join(state, 'memory-bases', base.sha256)
  const { blocks, mode, size } = statSync(place)
  assert.equal(size, 8 * MIB + 4096)
  assert.ok(blocks * 512 <= 2 * MIB, `${blocks}`)
  assert.equal(mode & 0o777, 0o400)
  await using file = await openMemoryBase(state, base.sha256)
  assert.ok((await file.readFile()).equals(bytes))
})

test('A base takes the room of its blocks until it is kept', async () => {
  const base = template('one')
  assert.equal(await bases().bytesFor(base), statSync(base.path).blocks * 512)
  assert.equal(await bases().bytesFor({ ...base, path: `${base.path}-missing` }), 0)
  await bases().keep(base)
  assert.equal(await bases().bytesFor(base), 0)
})

test('A pipe or a link in the place of the memory of a template is refused', async () => {
  const base = template('one')
  assert.equal(await bases().keep(base), undefined)
  const place = join(state, 'memory-bases', base.sha256)
  rmSync(place)
  execFileSync('mkfifo', [place])
  await assert.rejects(openMemoryBase(state, base.sha256), { code: 'STATE' })
  rmSync(place)
  symlinkSync(base.path, place)
  await assert.rejects(openMemoryBase(state, base.sha256), { code: 'NOT_FOUND' })
})

test('A base unused for the retention time of captures is removed, and so is the least recently used one beyond the count', async () => {
  const [one, two, three] = [template('one'), template('two'), template('three')]
  for (const base of [one, two, one, three]) {
    now += 1_000
    await bases().keep(base)
  }
  assert.deepEqual(kept(), [one.sha256, three.sha256].toSorted())
  now += retentionMs + 1
  await bases().keep(two)
  assert.deepEqual(kept(), [two.sha256])
})

test('A base that is missing, is a link, or is no plain file is not kept, and the cause is returned', async () => {
  const { path, sha256: digest } = template('one')
  symlinkSync(path, `${path}-link`)
  for (const place of [`${path}-link`, `${path}-missing`, state])
    assert.notEqual(await bases().keep({ path: place, sha256: digest }), undefined, place)
  assert.match((await bases().keep({ path, sha256: '../escape' }))!, /64 hexadecimal digits/)
  assert.deepEqual(kept(), [])
})

test('A base that was changed, or is not kept, cannot be opened', async () => {
  const base = template('one')
  await assert.rejects(openMemoryBase(state, base.sha256), { code: 'NOT_FOUND' })
  await bases().keep(base)
  const place = join(state, 'memory-bases', base.sha256)
  chmodSync(place, 0o600)
  await (await openMemoryBase(state, base.sha256)).close()
  truncateSync(place, 5)
  await assert.rejects(openMemoryBase(state, base.sha256), { code: 'STATE' })
})
