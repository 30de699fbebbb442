import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createConnection } from 'node:net'
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
