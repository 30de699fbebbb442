import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { observeCall } from './observe.ts'

const counts = existsSync('/proc/thread-self/io')
const skip = !counts && 'this kernel does not count what a thread reads'

test('A pure computation shows no effect, however often it runs', () => {
  for (let turn = 0; turn < 500; turn++) {
    const { value, seen } = observeCall(() => Array.from({ length: 100 }, (_, at) => at).join())
    assert.deepEqual([value?.length, seen], [289, []])
  }
})

const deeds: readonly (readonly [what: string, deed: () => unknown, seen: RegExp])[] = [
  ['a timer', () => clearTimeout(setTimeout(() => undefined, 1)), /Timeout/],
  ['a turn of the loop', () => clearImmediate(setImmediate(() => undefined)), /Immediate/],
  ['a microtask', () => queueMicrotask(() => undefined), /Microtask/],
  ['a promise', () => Promise.resolve(1).then(() => undefined), /PROMISE/],
  [
    'a socket',
    () =>
      createConnection(9, '127.0.0.1')
        .on('error', () => undefined)
        .destroy(),
    /TCPWRAP/,
  ],
  ['a file, later', () => readFile(import.meta.filename).catch(() => undefined), /FSREQ|PROMISE/],
]
for (const [what, deed, pattern] of deeds)
  test(`S4-28: ${what} started by a computation is detected`, () => {
    assert.match(observeCall(deed).seen.join(), pattern)
  })

test("S4-28: a synchronous file read is seen through the kernel's counters", { skip }, () => {
  assert.deepEqual(observeCall(() => readFileSync(import.meta.filename)).seen, ['read'])
})

test('S4-28: a synchronous write to a disk is seen, also of eight bytes, as a wake-up of a thread writes', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-observed-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const isCounted = counts && statfsSync(folder).type !== TMPFS
  if (!isCounted) return t.skip('this kernel does not count what a thread writes there')
  for (const bytes of [8, 9, 16])
    assert.deepEqual(
      observeCall(() => writeFileSync(join(folder, `${bytes}`), 'x'.repeat(bytes))).seen,
      ['write'],
    )
})

/** `TMPFS_MAGIC` of statfs(2). */
const TMPFS = 0x0102_1994

test('The first computation of a process may use the time zone, which is read from files', () => {
  const observed = `
    import { observeCall } from ${JSON.stringify(import.meta.resolve('./observe.ts'))}
    const { seen } = observeCall(() => new Date(0).getHours() + Intl.DateTimeFormat().format(0))
    process.stdout.write(JSON.stringify(seen))`
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ['--input-type=module', '--eval', observed],
    { encoding: 'utf8' },
  )
  assert.equal(stdout, '[]', stderr)
})

test('Errors pass through, unless an effect was seen too', () => {
  const error = new RangeError('no')
  assert.throws(
    () =>
      observeCall(() => {
        throw error
      }),
    error,
  )
  const { seen } = observeCall(() => {
    queueMicrotask(() => undefined)
    throw error
  })
  assert.deepEqual(seen, ['Microtask'])
})

test('Activity between two calls is not attributed to either', async () => {
  observeCall(() => 1)
  await readFile(import.meta.filename)
  assert.deepEqual(
    observeCall(() => 2),
    { value: 2, seen: [] },
  )
})
