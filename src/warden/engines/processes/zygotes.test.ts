import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { CProgram } from '../../../jail/c-program.ts'
import type { ForkRequest } from './zygote.ts'
import { templateForksMax, lifeMsMax, Zygotes, type ZygoteParts } from './zygotes.ts'

const jail = { file: '/launcher', args: ['one'] }
const request: ForkRequest = { given: [], steps: [], filter: undefined }
const program: CProgram = { file: '/nowhere', fd: -1 }

/** A template that forks nothing. */
class Scripted {
  readonly pid = undefined
  readonly gone = Promise.resolve()
  readonly surroundings = []
  ready: Promise<void> = Promise.resolve()
  isAlive = true
  forks = 0
  fails = false

  async fork(): Promise<number> {
    if (this.fails) throw new Error('it died')
    return ++this.forks
  }

  close(): void {
    this.isAlive = false
  }
}

function open(parts: Partial<ZygoteParts> = {}) {
  const started: Scripted[] = []
  const clock = { now: 0 }
  const zygotes = new Zygotes({
    launcher: () => program,
    openLibrary: async () => program,
    now: () => clock.now,
    start: () => {
      const one = new Scripted()
      started.push(one)
      return one
    },
    ...parts,
  })
  const ask = async (what = jail) => {
    const has = await zygotes.has(what)
    await turn()
    return has
  }
  return { zygotes, started, clock, ask }
}

suite('Templates', () => {
  test('are started for repeated requests, and not for a few', async () => {
    const { started, clock, ask } = open()
    for (let n = 0; n < 10; n++, clock.now += 6_000) assert.equal(await ask(), false)
    assert.equal(started.length, 0)
    clock.now += 6_000
    const counts: number[] = []
    for (let n = 0; n < 4; n++, clock.now += 100) {
      await ask()
      counts.push(started.length)
    }
    // The third opens the library of templates, the fourth starts one.
    assert.deepEqual(counts, [0, 0, 0, 1])
    assert.equal(await ask(), true)
  })

  test(`fork ${templateForksMax} times at most, and are replaced ahead of that`, async () => {
    const { zygotes, started, ask } = open({ isEager: true })
    for (let n = 0; n < 3 * templateForksMax; n++) {
      assert.equal(await ask(), true)
      await zygotes.fork(jail, request)
    }
    assert.equal(templateForksMax, 200)
    assert.ok(started.length >= 3)
    assert.ok(started.every(({ forks }) => forks <= templateForksMax))
    assert.equal(started.filter(({ isAlive }) => isAlive).length, 1)
    // Without requests, which start its successor ahead.
    while (started.at(-1)!.forks < templateForksMax) await zygotes.fork(jail, request)
    await assert.rejects(zygotes.fork(jail, request), /no template/)
    assert.equal(await ask(), true)
    await zygotes.fork(jail, request)
    assert.equal(started.at(-1)!.forks, 1)
  })

  test(`fork ${templateForksMax} times at most for concurrent requests`, async () => {
    const { zygotes, started, ask } = open({ isEager: true })
    assert.equal(await ask(), true)
    const forks = Array.from({ length: 2 * templateForksMax }, () => zygotes.fork(jail, request))
    const ends = await Promise.allSettled(forks)
    assert.equal(started[0]!.forks, templateForksMax)
    assert.equal(ends.filter(({ status }) => status === 'rejected').length, templateForksMax)
  })

  test('with another root fork no wall that waited for the earlier template', async () => {
    const { zygotes, started, ask } = open({ isEager: true })
    assert.equal(await ask(), true)
    await ask({ file: '/launcher', args: ['another'] })
    await assert.rejects(zygotes.fork(jail, request), /no template/)
    assert.deepEqual(
      started.map(({ forks }) => forks),
      [0, 0],
    )
  })

  test(`live ${lifeMsMax / 1000} s at most`, async () => {
    assert.equal(lifeMsMax, 60_000)
    const { zygotes, started, clock, ask } = open({ isEager: true })
    await ask()
    clock.now = lifeMsMax - 1
    await zygotes.fork(jail, request)
    clock.now = lifeMsMax
    await assert.rejects(zygotes.fork(jail, request), /no template/)
    assert.equal(await ask(), true)
    await zygotes.fork(jail, request)
    assert.deepEqual(
      started.map(({ forks }) => forks),
      [1, 1],
    )
    clock.now = 2 * lifeMsMax
    await ask()
    await turn()
    assert.deepEqual(
      started.map(({ isAlive }) => isAlive),
      [...started.slice(1).map(() => false), true],
    )
  })

  test('with another root are not used', async () => {
    const { started, ask } = open({ isEager: true })
    await ask()
    await ask({ file: '/launcher', args: ['another'] })
    await turn()
    assert.deepEqual(
      started.map(({ isAlive }) => isAlive),
      [false, true],
    )
  })

  test('wait after a failure, longer each time', async () => {
    const { zygotes, started, clock, ask } = open({ isEager: true })
    for (let [n, waitMs] = [1, 5_000]; n < 5; n++, waitMs *= 2) {
      assert.equal(await ask(), true)
      assert.equal(started.length, n)
      started[n - 1]!.fails = true
      await assert.rejects(zygotes.fork(jail, request), /it died/)
      clock.now += waitMs - 1
      assert.equal(await ask(), false)
      clock.now += 1
    }
  })

  test('fork no more once they are closed', async () => {
    const { zygotes, started, ask } = open({
      isEager: true,
      openLibrary: async () => ({ missing: '' }),
    })
    assert.equal(await ask(), false)
    await zygotes.close()
    assert.equal(await ask(), false)
    await assert.rejects(zygotes.fork(jail, request), /no template/)
    assert.equal(started.length, 0)
  })
})
