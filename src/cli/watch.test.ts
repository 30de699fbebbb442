import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Clock } from '../contract/clock.ts'
import { allControls } from '../contract/controls.ts'
import type { TimelineEntry } from '../contract/event.ts'
import type { Profile } from '../contract/profile.ts'
import { interruptedOutcome } from '../history/interrupted-outcome.ts'
import { watch } from './watch.ts'

/** Terminal or pipe, with a manual clock. */
function stage(isTTY: boolean, rows = 40) {
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
  const write = (text: unknown) => written.push(String(text)) > 0
  return {
    options: { stream: { isTTY, columns: 80, rows, write }, clock },
    written,
    pending: () => due !== undefined,
    pass(ms: number) {
      now += ms
      if (due && due.at <= now) due.call()
    },
    /** Terminal content after all writes. */
    screen: () => screenOf(written.join('')),
  }
}

/** Minimal terminal emulation: lines, cursor up, and clear to the end. */
function screenOf(text: string): readonly string[] {
  const lines = ['']
  let row = 0
  for (const [token, up] of text
    .replaceAll('\x1b', 'ESC')
    .matchAll(/ESC\[(\d+)F|ESC\[[?\d]*[A-Za-z]|\n|[^\n]+?(?=ESC|\n|$)/g)) {
    if (up !== undefined) lines.splice((row -= Number(up)))
    else if (token === '\n') row += 1
    else if (!token.startsWith('ESC')) lines[row] += token
    assert.ok(row >= 0, 'the cursor left the top')
    lines[row] ??= ''
  }
  return lines
}

const profile = {
  tier: 'mock',
  provider: 'mock',
  controls: allControls,
  limits: { timeout: 5000 },
  schedule: {
    phases: [
      { name: 'phase-0', for: 1000, controls: allControls },
      { name: 'phase-1', for: 1000, controls: { ...allControls, cpu: 1 } },
    ],
  },
} as unknown as Profile
const opened: TimelineEntry = { at: 0, zone: 'main', event: 'phase', phase: 'phase-0' }
const ended = { ...interruptedOutcome('exec_1'), status: 'ok' as const, timeline: [opened] }

test('On a terminal the life is redrawn in place as it proceeds', () => {
  const { options, screen, pass, pending } = stage(true)
  const watching = watch(options)
  watching.planned(profile)
  watching.on(opened)
  pass(100)
  assert.match(screen()[0] ?? '', /running.* 100 ms of 2 s.*mock, mock/)
  const { length } = screen()
  pass(400)
  assert.match(screen()[0] ?? '', /running.* 500 ms of 2 s/)
  assert.equal(screen().length, length)
  assert.match(screen().join('\n'), /phase-0 500 ms\nmain +█+░+\n/)
  watching[Symbol.dispose]()
  assert.deepEqual(screen(), [''])
  assert.equal(pending(), false)
})

test('Redraws happen at most ten times a second, in one write, and not without changes', () => {
  const { options, written, pass } = stage(true)
  const watching = watch(options)
  assert.equal(written.length, 1)
  pass(100)
  assert.equal(written.length, 1)
  watching.on(opened)
  for (let ms = 0; ms < 1000; ms += 10) pass(10)
  assert.ok(written.length <= 12, `${written.length} writes`)
  watching[Symbol.dispose]()
})

test('Output of the job is never overdrawn', async () => {
  const { options, screen, pass } = stage(true)
  const watching = watch(options)
  const tap = watching.tap((_, text) => void options.stream.write(text))
  await tap('stdout', 'half a line')
  pass(100)
  watching.on(opened)
  assert.deepEqual(screen(), ['half a line'])
  await tap('stdout', '\n')
  pass(100)
  assert.equal(screen()[0], 'half a line')
  assert.match(screen()[1] ?? '', /running/)
  watching.end(ended)
  assert.equal(screen()[0], 'half a line')
  assert.match(screen()[1] ?? '', /✓ ok/)
})

test('A low terminal shows as much of the picture as fits', () => {
  const { options, screen } = stage(true, 3)
  const watching = watch(options)
  watching.planned(profile)
  watching.on(opened)
  assert.ok(screen().length <= 3)
  watching[Symbol.dispose]()
})

test('The final picture stays, and nothing is drawn after it', () => {
  const { options, screen, written, pass, pending } = stage(true)
  const watching = watch(options)
  watching.on(opened)
  watching.end(ended)
  const after = written.length
  pass(1000)
  assert.equal(pending(), false)
  watching[Symbol.dispose]()
  assert.equal(written.length, after)
  assert.match(screen().join('\n'), /✓ ok[^]*phase-0 0 ms\nmain +█[^]*output 0 B/)
})

test('Without a terminal each event is a plain line, and the picture comes at the end', () => {
  const { options, written, pending } = stage(false)
  const watching = watch(options)
  watching.on(opened)
  watching.on({ at: 12.4, zone: 'main', event: 'tightened', controls: { cpu: 1 }, took: 2 })
  watching.on({ at: 20, zone: 'a\nb', event: 'denied', fields: { capability: '\x1b[2J' } })
  assert.deepEqual(written, [
    '0 ms  phase  phase-0\n',
    '12 ms  ▼ tightened  cpu 1 core, took 2 ms\n',
    'a b: 20 ms  × denied  call of "\\x1b[2J"\n',
  ])
  watching.end(ended)
  assert.match(written.at(-1) ?? '', /^✓ ok/)
  assert.ok(!written.join('').includes('\x1b'))
  assert.equal(pending(), false)
})
