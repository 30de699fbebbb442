import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Clock } from '../contract/clock.ts'
import { watch } from './watch.ts'

/** A terminal or a pipe, and a clock that goes on when it is told. */
function stage(isTTY: boolean) {
  let now = 0
  let due: { readonly at: number; readonly call: () => void } | undefined
  const clock: Clock = {
    now: () => now,
    date: () => now,
    after(ms, call) {
      due = { at: now + ms, call }
      return { cancel: () => (due = undefined) }
    },
  }
  const written: string[] = []
  const stream = { isTTY, columns: 80, write: (text: unknown) => written.push(String(text)) > 0 }
  return {
    options: { stream, clock, timeout: 1000 },
    written,
    pending: () => due !== undefined,
    pass(ms: number) {
      now += ms
      if (due && due.at <= now) due.call()
    },
  }
}

const opened = { at: 0, zone: 'main', event: 'phase', phase: 'full' } as const

test('On a terminal one line says the phase, how much of the time is gone and how much came out', async () => {
  const { options, written, pass, pending } = stage(true)
  const watching = watch(options)
  assert.match(written.at(-1)!, /starting ░{20} 0\.0 s of 1\.0 s, 0 B out/)
  watching.on(opened)
  await watching.tap(undefined)('stdout', 'é'.repeat(1024))
  pass(500)
  assert.equal(written.at(-1), '\r\x1b[Kfull ██████████░░░░░░░░░░ 0.5 s of 1.0 s, 2.0 KB out')
  pass(5000)
  assert.match(written.at(-1)!, /█{20} 5\.5 s/)
  watching[Symbol.dispose]()
  assert.equal(written.at(-1), '\r\x1b[K')
  assert.equal(pending(), false)
})

test('What the job prints is never drawn over', async () => {
  const { options, written, pass } = stage(true)
  const watching = watch(options)
  const tap = watching.tap((_, text) => void written.push(text))
  await tap('stdout', 'half a line')
  assert.deepEqual(written.slice(-2), ['\r\x1b[K', 'half a line'])
  pass(100)
  watching.on(opened)
  await tap('stdout', ', and its end\n')
  assert.deepEqual(written.slice(-2), ['half a line', ', and its end\n'])
  pass(100)
  assert.ok(written.at(-1)!.startsWith('\r\x1b[Kfull'))
  watching[Symbol.dispose]()
})

test('Elsewhere each event is a plain line', () => {
  const { options, written, pending } = stage(false)
  const watching = watch(options)
  watching.on(opened)
  watching.on({ at: 12.4, zone: 'main', event: 'tightened', phase: 'full' })
  watching[Symbol.dispose]()
  assert.deepEqual(written, ['0 ms: phase full, 0 B out\n', '12 ms: tightened full, 0 B out\n'])
  assert.equal(pending(), false)
})
