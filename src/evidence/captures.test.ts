import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { sha256 } from '../lib/hash.ts'
import { openBodies, type Bodies } from './bodies.ts'
import { createCaptures, storedCaptures, pieceBytes, readCaptured } from './captures.ts'
import { ownHooks } from '../../tests/fixtures/own-hooks.ts'

const of = { tenant: 'acme', run: 'exec_1', because: 'asked' } as const
/** Two pieces and a bit, in chunks that do not align with pieces. */
const chunks = [1, pieceBytes, 7, pieceBytes - 3].map((size, at) =>
  Buffer.alloc(size, `chunk ${at}`),
)
const memory = Buffer.concat(chunks)
const capture = {
  kind: 'memory',
  why: 'not all of it',
  parts: [
    { name: 'memory.bin', bytes: chunks },
    { name: 'memory.json', bytes: [Buffer.from('[]')] },
  ],
} as const

let folder: string
let bodies: Bodies
const { beforeEach, afterEach } = ownHooks(import.meta.filename)
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mayfly-captures-'))
  bodies = openBodies(folder)
})
afterEach(() => {
  bodies.close()
  rmSync(folder, { recursive: true, force: true })
})

const keepAt = (at: number) =>
  createCaptures(
    () => bodies,
    () => at,
  )

async function bytesOf(part: string, asked: { tenant?: string; run: string } = of) {
  const pieces: Uint8Array[] = []
  for await (const piece of readCaptured(bodies, asked, part).bytes) pieces.push(piece)
  return Buffer.concat(pieces)
}

test('A capture is stored with the other bodies of its run, beside earlier ones, and is read back unchanged', async () => {
  const keep = keepAt(7)
  const parts = await keep(of, capture)
  const later = capture.parts.map(({ name }) => ({ name, bytes: [Buffer.from('[8]')] }))
  await keep(of, { ...capture, parts: later })
  assert.deepEqual(parts, [
    { name: 'capture-7/memory.bin', size: memory.length, sha256: sha256(memory) },
    { name: 'capture-7/memory.json', size: 2, sha256: sha256('[]') },
  ])
  const kept = storedCaptures(bodies, of)
  assert.deepEqual(
    kept.map(({ name }) => name),
    ['capture-8', 'capture-7'],
  )
  const { kind, why } = capture
  assert.deepEqual(kept[1], { name: 'capture-7', ...of, at: 7, kind, why, parts })
  assert.ok((await bytesOf('capture-7/memory.bin')).equals(memory))
  assert.equal(String(await bytesOf('capture-8/memory.json')), '[8]')
  assert.deepEqual(await keep(of, { kind: 'none', parts: [] }), [])
})

test('A capture for which the disk has no room is not begun, and leaves its room to the record', async () => {
  assert.equal(bodies.roomLack(2 ** 60), 'store')
  assert.equal(bodies.roomLack(0), undefined)
  const asked: number[] = []
  let lack: 'disk' | 'store' = 'disk'
  const full = {
    put: (...all: Parameters<Bodies['put']>) => bodies.put(...all),
    roomLack(bytes: number) {
      asked.push(bytes)
      return lack
    },
  }
  const keep = createCaptures(
    () => full,
    () => 7,
  )
  await assert.rejects(keep(of, capture), { code: 'DISK_FULL', message: /the disk .* no room/ })
  lack = 'store'
  await assert.rejects(keep(of, capture), { code: 'DISK_FULL', message: /at its own limit$/ })
  const bytes = memory.length + '[]'.length
  assert.deepEqual(asked, [bytes, bytes])
  assert.deepEqual(bodies.names(of.tenant, of.run), [])
})

test('The memory of a template for which the disk has no room is not kept, and the capture is', async () => {
  const kept: string[] = []
  const bases = {
    bytesFor: async ({ path }: { path: string }) => (path === 'known' ? 0 : 100 * 2 ** 20),
    keep: async ({ path }: { path: string }) => void kept.push(path),
  }
  const bounded = {
    put: (...all: Parameters<Bodies['put']>) => bodies.put(...all),
    roomLack: (bytes: number, beside = 0) =>
      bytes + beside < 50 * 2 ** 20 ? undefined : ('disk' as const),
  }
  let at = 7
  const keep = createCaptures(
    () => bounded,
    () => at++,
    bases,
  )
  const digest = sha256('base')
  await keep(of, { ...capture, base: { path: 'new', sha256: digest } })
  await keep(of, { ...capture, base: { path: 'known', sha256: digest } })
  const [known, fresh] = storedCaptures(bodies, of)
  assert.deepEqual([known?.base, fresh?.base], [digest, undefined])
  assert.match(String(fresh?.why), /memory of its template is not kept: the disk .* no room/)
  assert.deepEqual(kept, ['known'])
})

test('Another tenant finds none of it, an admin does', async () => {
  await keepAt(7)(of, capture)
  const { run } = of
  assert.deepEqual(storedCaptures(bodies, { tenant: 'other', run }), [])
  assert.throws(() => readCaptured(bodies, { tenant: 'other', run }, 'capture-7/memory.bin'), {
    code: 'NOT_FOUND',
  })
  assert.throws(() => readCaptured(bodies, of, 'capture-7/memory'), { code: 'NOT_FOUND' })
  assert.equal(storedCaptures(bodies, {}).length, 1)
  assert.equal(String(await bytesOf('capture-7/memory.json', { run })), '[]')
})

test('Writing and reading a capture yield to the event loop between any two pieces', async () => {
  let turns = 0
  let isOver = false
  const count = (): void => void (isOver || (turns++, setImmediate(count)))
  setImmediate(count)
  const keptIn: number[] = []
  const readIn: number[] = []
  const counted: Pick<Bodies, 'put' | 'roomLack'> = {
    roomLack: () => undefined,
    put(place, bytes, at) {
      assert.ok(bytes.length <= pieceBytes)
      keptIn.push(turns)
      bodies.put(place, bytes, at)
    },
  }
  const keep = createCaptures(
    () => counted,
    () => 7,
  )
  await keep(of, capture)
  for await (const _ of readCaptured(bodies, of, 'capture-7/memory.bin').bytes) readIn.push(turns)
  isOver = true
  assert.equal(keptIn.length, 1 + 3 + 1 + 1)
  assert.equal(readIn.length, 3)
  // The empty marker of a requested capture is written with the first piece.
  for (const seen of [keptIn.slice(1), readIn])
    assert.ok(
      seen.every((turn, at) => at === 0 || turn > seen[at - 1]!),
      String(seen),
    )
})

test('An incomplete capture is not listed, and an altered one is refused', async () => {
  await keepAt(7)(of, capture)
  await keepAt(9)(of, capture)
  const db = new DatabaseSync(join(folder, 'bodies.db'))
  db.exec("DELETE FROM bodies WHERE name = 'capture-7/memory.bin/1'")
  assert.deepEqual(
    storedCaptures(bodies, of).map(({ name }) => name),
    ['capture-9'],
  )
  assert.throws(() => readCaptured(bodies, of, 'capture-7/memory.bin'), { code: 'NOT_FOUND' })
  const swapped = `UPDATE bodies SET name = CASE name
    WHEN 'capture-9/memory.bin/0' THEN 'x' ELSE 'capture-9/memory.bin/0' END
    WHERE name IN ('capture-9/memory.bin/0', 'capture-9/memory.bin/1')`
  db.exec("DELETE FROM bodies WHERE name = 'capture-9/memory.bin/0'")
  db.exec(swapped)
  db.close()
  assert.deepEqual(storedCaptures(bodies, of), [])
  bodies.put({ ...of, name: 'capture-9/memory.bin/1' }, Buffer.from('other'), 9)
  await assert.rejects(bytesOf('capture-9/memory.bin'), { code: 'STATE' })
  bodies.put({ ...of, name: 'capture-9/memory.bin/0' }, Buffer.from('other'), 9)
  await assert.rejects(bytesOf('capture-9/memory.bin'), /it is not what was kept/)
})

test('Attack: a summary under a name that Mayfly gives to no capture is not listed', async () => {
  await keepAt(7)(of, capture)
  const summary = { format: 1, at: 9, because: 'asked', kind: 'none', parts: [] }
  const put = (name: string) =>
    bodies.put({ ...of, name: `${name}/capture.json` }, Buffer.from(JSON.stringify(summary)), 9)
  for (const name of ['capture-\x1b]0;owned\x07', 'capture-9\n', 'capture-9/x', 'capture-'])
    put(name)
  const names = () => storedCaptures(bodies, of).map(({ name }) => name)
  assert.deepEqual(names(), ['capture-7'])
  put('capture-9')
  assert.deepEqual(names(), ['capture-9', 'capture-7'])
})

test('A part whose name could be a path is not stored', async () => {
  for (const name of ['../memory', '.hidden', 'a/b', ''])
    await assert.rejects(
      keepAt(7)(of, { kind: 'memory', parts: [{ name, bytes: [Buffer.from('x')] }] }),
    )
  assert.deepEqual(storedCaptures(bodies, of), [])
})
