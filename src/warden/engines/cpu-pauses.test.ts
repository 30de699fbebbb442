import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { CpuPauses } from './cpu-pauses.ts'

suite('The CPU limit of a wall without a quota', () => {
  test('A wall that overdraws its time is paused, and resumed once its bucket is even', async () => {
    const { said, pauses, spend } = stand()
    let spentMs = 0
    pauses.check(0.2, 0)
    for (let ms = 50; ms <= 1000; ms += 50) {
      const burntMs = said.at(-1) === 'pause' ? 0 : 50
      spend(burntMs)
      spentMs += burntMs
      pauses.check(0.2, ms)
      await answered()
      // A look of 50 ms may overdraw by 40, as it brings 10, and no resume comes before the debt is paid.
      assert.ok(spentMs <= ms * 0.2 + 40, `${spentMs} ms of ${ms}`)
    }
    assert.ok(spentMs >= 150, `${spentMs} ms`)
    assert.ok(said.filter((word) => word === 'pause').length > 3)
    assert.deepEqual(said.slice(0, 2), ['pause', 'resume'])
  })

  test('A wall within its limit is never paused', async () => {
    const { said, pauses, spend } = stand()
    for (let ms = 0; ms <= 1000; ms += 50) {
      spend(40)
      pauses.check(1, ms)
      await answered()
    }
    assert.deepEqual(said, [])
  })

  test('A request that fails is made again', async () => {
    const { said, pauses, spend, fail } = stand()
    pauses.check(0.1, 0)
    fail(true)
    spend(500)
    pauses.check(0.1, 50)
    await answered()
    fail(false)
    pauses.check(0.1, 100)
    await answered()
    assert.deepEqual(said, ['pause', 'pause'])
  })
})

function stand() {
  const said: string[] = []
  let [spent, fails] = [0, false]
  const answer = (word: string) => {
    said.push(word)
    return fails ? Promise.reject(new Error('gone')) : Promise.resolve()
  }
  const control = { pause: () => answer('pause'), resume: () => answer('resume') }
  return {
    said,
    pauses: new CpuPauses(control, () => spent),
    spend: (ms: number) => void (spent += ms),
    fail: (does: boolean) => void (fails = does),
  }
}

function answered(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve))
}
