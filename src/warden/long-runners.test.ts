import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LongRunners } from './long-runners.ts'

const all = (count: number, cores: number): readonly number[] => Array(count).fill(cores)

/** Ranks of a wall that uses so many cores in each 100 ms. */
function ranksOf(cores: readonly number[]): readonly string[] {
  const runners = new LongRunners()
  let cpuMs = 40
  return [0, ...cores].map((used, n) => {
    cpuMs += used * 100
    const { isLong, isBehind } = runners.check('w', n * 100, cpuMs)
    return (isLong ? 'long' : 'short') + (isBehind ? ' behind' : '')
  })
}

test('A wall loses its weight after half a second of CPU time', () => {
  assert.equal(ranksOf(all(8, 1)).indexOf('long behind'), 5)
  assert.ok(
    ranksOf(all(8, 1))
      .slice(5)
      .every((rank) => rank === 'long behind'),
  )
})

test('A wall that begins behind others stays there while it computes, and is short-running once it has slept', () => {
  const runners = new LongRunners()
  runners.begin('w', 0, 40)
  const looks = Array.from({ length: 24 }, (_, n) => {
    const { isLong, isBehind } = runners.check('w', n * 100, 40 + Math.min(n, 6) * 100)
    return isLong && isBehind
  })
  assert.ok(looks.slice(0, 10).every(Boolean), looks.join())
  assert.equal(runners.check('w', 3_500, 640).isLong, false)
})

test('A sleeping wall gets its weight back after one or two seconds, and is short-running again a quarter of a second later', () => {
  const ranks = ranksOf([...all(6, 1), ...all(24, 0), ...all(3, 1)])
  const forward = ranks.indexOf('long')
  assert.ok(forward >= 15 && forward <= 26, `forward at ${forward}`)
  assert.equal(ranks.indexOf('short', forward), forward + 3)
  assert.equal(ranks.at(-1), 'short', 'what it used before counts no more')
})

test('A starving wall gets its weight for a quarter of a second, repeatedly, and stays long-running', () => {
  const ranks: string[] = []
  const runners = new LongRunners()
  let [cpuMs, isBehind] = [0, false]
  for (let n = 0; n < 60; n++) {
    // Behind the others it gets nothing at all.
    cpuMs += isBehind ? 0 : 100
    const rank = runners.check('w', n * 100, cpuMs)
    isBehind = rank.isBehind
    ranks.push((rank.isLong ? 'long' : 'short') + (isBehind ? ' behind' : ''))
  }
  assert.ok(
    ranks.slice(5).every((rank) => rank.startsWith('long')),
    ranks.join(),
  )
  const forward = ranks.slice(5).filter((rank) => rank === 'long').length
  assert.ok(forward >= 9 && forward <= 15, `${forward} of 55 looks`)
})

test('A wall that computes in short bursts with pauses of a second is never long-running', () => {
  const piece = [...all(4, 1), ...all(12, 0)]
  const ranks = ranksOf([...piece, ...piece, ...piece])
  assert.deepEqual(new Set(ranks), new Set(['short']))
})

test('Samples too close together change nothing, and a removed wall starts over', () => {
  for (const forget of [
    (runners: LongRunners) => runners.forget('w'),
    (runners: LongRunners) => runners.keep(new Set()),
  ]) {
    const runners = new LongRunners()
    runners.check('w', 0, 0)
    assert.equal(runners.check('w', 50, 5_000).isLong, false)
    assert.equal(runners.check('w', 100, 5_000).hasChanged, true)
    forget(runners)
    assert.equal(runners.check('w', 200, 6_000).isLong, false)
  }
})
