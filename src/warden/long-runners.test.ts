import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LongRunners } from './long-runners.ts'

/** Ranks of a wall that uses so many cores in each 100 ms. */
function ranksOf(cores: readonly number[]): readonly string[] {
  const runners = new LongRunners()
  let cpuMs = 40
  return [0, ...cores].map((used, n) => {
    cpuMs += used * 100
    const { isLong, isBehind } = runners.look('w', n * 100, cpuMs)
    return (isLong ? 'long' : 'short') + (isBehind ? ' behind' : '')
  })
}

test('A wall steps back once it has computed for half a second, and comes forward after a pause', () => {
  const ranks = ranksOf([...Array(6).fill(1), ...Array(11).fill(0), 1])
  assert.equal(ranks.indexOf('long behind'), 5)
  assert.equal(ranks[6], 'long behind')
  assert.equal(ranks[15], 'long behind', 'a shorter pause may be a wait for the processor')
  assert.equal(ranks[16], 'short')
  assert.equal(ranks.at(-1), 'short', 'what it used before the pause counts no more')
})

test('A wall that computes in short pieces with pauses of a second is never long', () => {
  const piece = [...Array(4).fill(1), ...Array(11).fill(0)]
  assert.ok([...piece, ...piece, ...piece].length > 40)
  assert.ok(ranksOf([...piece, ...piece, ...piece]).every((rank) => rank === 'short'))
})

test('A wall that starves behind others comes forward for a moment, again and again', () => {
  const ranks = ranksOf([...Array(5).fill(1), ...Array(40).fill(0.01)])
  const forward = ranks.flatMap((rank, n) => (rank === 'long' ? [n] : []))
  assert.ok(forward.length >= 6, `forward at ${forward.join()}`)
  assert.ok(forward.length <= 14, `forward at ${forward.join()}`)
  assert.ok(forward.some((n) => n > 30))
})

test('Looks too close together change nothing, and a wall that is gone is forgotten', () => {
  const runners = new LongRunners()
  runners.look('w', 0, 0)
  assert.equal(runners.look('w', 50, 5_000).isLong, false)
  assert.equal(runners.look('w', 100, 5_000).hasChanged, true)
  runners.keep(new Set())
  assert.equal(runners.look('w', 200, 6_000).isLong, false)
})
