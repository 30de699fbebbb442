import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SimulatedClock } from '../../tests/sim/simulated-clock.ts'
import { KeptFiles, keptMinutes } from './kept-files.ts'

const MB = 2 ** 20
const file = (path: string, size = 1) => ({ path, bytes: new Uint8Array(size) })

test('Files of a call are found by their caller alone, until their time is over', async () => {
  const clock = new SimulatedClock()
  const kept = new KeptFiles(clock)
  const [own, other] = [kept.of('a'), kept.of('b')]
  own.keep('run1', [file('x', 3)])
  assert.equal(own.find('run1', 'x')?.length, 3)
  assert.deepEqual(
    [own.find('run2', 'x'), other.find('run1', 'x'), other.list()],
    [undefined, undefined, []],
  )
  await clock.run(keptMinutes * 60_000)
  assert.deepEqual([own.find('run1', 'x'), own.list()], [undefined, []])
  await clock.run()
  assert.equal(clock.pending, 0)
})

test('Files of a caller have a bound, which drops its oldest and never those of another', () => {
  const kept = new KeptFiles(new SimulatedClock())
  const [own, other] = [kept.of('a'), kept.of('b')]
  other.keep('run0', [file('x')])
  for (const run of ['run1', 'run2', 'run3']) own.keep(run, [file('y', 7 * MB), file('z', 9 * MB)])
  assert.deepEqual(
    own.list().map(({ run, path }) => [run, path]),
    [
      ['run2', 'y'],
      ['run3', 'y'],
    ],
  )
  own.keep(
    'run4',
    Array.from({ length: 5000 }, (_, n) => file(`${n}`)),
  )
  assert.ok(own.list().length <= 256)
  assert.ok(other.find('run0', 'x'))
})

test('A bound over all callers drops the oldest file of the caller with most', () => {
  const kept = new KeptFiles(new SimulatedClock())
  const small = kept.of('small')
  small.keep('run', [file('x', MB)])
  for (let n = 0; n < 8; n += 1) kept.of(`${n}`).keep('run', [file('x', 8 * MB), file('y', 7 * MB)])
  assert.ok(small.find('run', 'x'))
})
