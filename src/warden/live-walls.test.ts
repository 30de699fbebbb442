import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type {
  ClaimBounds,
  Enclosure,
  EnclosureBounds,
  EnclosureEnd,
  WallRank,
} from '../contract/engine.ts'
import { MayflyError } from '../contract/error.ts'
import type { BoundMechanisms, Reply } from '../contract/warden.ts'
import type { Request } from '../contract/warden-request.ts'
import { LiveWalls } from './live-walls.ts'
import { operations } from './operations.ts'

const heldBy: BoundMechanisms = { memory: 'watch', processes: 'none', cpu: 'none', io: 'none' }
const exit = { exitCode: 0, signal: null, cpuMs: 7 }
const request = { protocol: 1, id: 1, wall: 'w1' } as const
const job: Request & { op: 'claim' } = {
  ...request,
  op: 'claim',
  tenant: 'a',
  memory: 100,
  cpu: 1,
  deadline: 60_000,
}

suite('Walls of any engine', () => {
  test('A single-use wall that is claimed twice is a conflict, and its engine is asked once', async () => {
    using stand = standing()
    await operations.claim(stand.walls, job)
    await assert.rejects(async () => operations.claim(stand.walls, job), hasCode('CONFLICT'))
    assert.equal(stand.claims.length, 1)
  })

  test('A wall that was not claimed cannot be tightened', async () => {
    using stand = standing()
    const asked = { ...request, op: 'tighten', memory: 1 } as const
    await assert.rejects(async () => operations.tighten(stand.walls, asked), hasCode('CONFLICT'))
    assert.deepEqual(stand.tightened, [])
  })

  test('An engine gets bounds that only fall, for any request', async () => {
    using stand = standing()
    await operations.claim(stand.walls, job)
    await operations.tighten(stand.walls, { ...request, op: 'tighten', memory: 200, cpu: 0.5 })
    await operations.tighten(stand.walls, { ...request, op: 'tighten', memory: 50, cpu: 4 })
    assert.deepEqual(stand.tightened, [
      { memory: 100, cpu: 0.5 },
      { memory: 50, cpu: 0.5 },
    ])
  })

  test('An engine that refuses an order is not asked again for it, but for memory and what was lowered since', async () => {
    using stand = standing()
    await operations.claim(stand.walls, { ...job, processes: 9 })
    const tighten = async (asked: object) =>
      operations.tighten(stand.walls, { ...request, op: 'tighten', ...asked })
    stand.refuses.push(true, false, true)
    const both = [tighten({ cpu: 0.5, processes: 4, memory: 80 }), tighten({ processes: 3 })]
    await assert.rejects(both[0]!, hasCode('UNAVAILABLE'))
    await both[1]
    await assert.rejects(async () => tighten({ processes: 1 }), hasCode('UNAVAILABLE'))
    await tighten({ cpu: 0.9 })
    assert.deepEqual(stand.tightened.at(-1), { memory: 80, cpu: 0.9, processes: 3 })
    // Two orders with the same bound: the one that was held keeps it.
    stand.refuses.push(true, false)
    const same = [tighten({ cpu: 0.7, io: 5 }), tighten({ cpu: 0.7 })]
    await assert.rejects(same[0]!, hasCode('UNAVAILABLE'))
    await same[1]
    await tighten({ processes: 2 })
    assert.deepEqual(stand.tightened.at(-1), { memory: 80, cpu: 0.7, processes: 2 })
  })

  test('A wall that ends is NOT_FOUND, and its end is pushed before its resources are released', async () => {
    using stand = standing()
    await operations.claim(stand.walls, job)
    const killing = stand.walls.kill('w1', 'killed')
    assert.throws(() => stand.walls.find('w1'), hasCode('NOT_FOUND'))
    await killing
    const [end] = stand.pushed as [Extract<Reply, { ended: string }>]
    assert.deepEqual(
      [end.ended, end.how, stand.order],
      ['w1', 'killed', ['killed', 'pushed', 'released']],
    )
    assert.equal(stand.walls.size, 0)
    assert.deepEqual(stand.walls.release('w1'), { peakBytes: end.peakBytes, cpuMs: 7 })
  })

  test('A wall that ends before its claim has used no CPU time of a job', async () => {
    using stand = standing()
    await stand.walls.kill('w1', 'killed')
    assert.equal(stand.walls.release('w1').cpuMs, 0)
  })

  test('A job that is expected to be short has precedence until it has used more, also after a new deadline', async () => {
    using stand = standing()
    await operations.claim(stand.walls, { ...job, isShort: true })
    stand.walls.rearm('w1', 60_000)
    assert.deepEqual(stand.ranks, ['ahead', 'ahead'])
    const until = performance.now() + 10_000
    while (stand.ranks.at(-1) === 'ahead' && performance.now() < until) {
      stand.used.ms += 60
      stand.walls.loads()
      await new Promise((resolve) => void setTimeout(resolve, 30))
    }
    assert.deepEqual(stand.ranks, ['ahead', 'ahead', 'job'])
    stand.walls.rearm('w1', 60_000)
    assert.equal(stand.ranks.at(-1), 'job', 'it is not ahead a second time')
  })

  test('A job that comes behind others does so from its start, and counts as long-running', async () => {
    using stand = standing()
    await operations.claim(stand.walls, { ...job, isBehind: true })
    assert.deepEqual(stand.ranks, ['behind'])
    assert.equal(stand.walls.loads().walls[0]?.isLong, true)
    stand.walls.rearm('w1', 60_000)
    assert.deepEqual(stand.ranks, ['behind', 'job'], 'the next begins anew')
  })

  test('A long-running worker gets its weight back after the job', async () => {
    using stand = standing({ isSingleUse: false })
    await operations.claim(stand.walls, job)
    const until = performance.now() + 10_000
    while (stand.ranks.at(-1) !== 'behind' && performance.now() < until) {
      stand.used.ms += 400
      stand.walls.loads()
      await new Promise((resolve) => void setTimeout(resolve, 30))
    }
    assert.deepEqual(stand.ranks, ['ahead', 'job', 'behind'])
    assert.equal(stand.walls.loads().walls[0]?.isLong, true)
    // Used by its end: however late this machine is, it has no credit again.
    stand.used.ms += 400
    stand.walls.release('w1')
    stand.walls.rearm('w1', 60_000)
    assert.deepEqual(stand.ranks, ['ahead', 'job', 'behind', 'parked', 'job'])
    await new Promise((resolve) => void setTimeout(resolve, 20))
    assert.equal(stand.walls.loads().walls[0]?.isLong, undefined)
  })

  test('A worker whose jobs use little has precedence from the first to the last of them', async () => {
    using stand = standing({ isSingleUse: false })
    await operations.claim(stand.walls, job)
    for (let n = 0; n < 20; n++) {
      stand.used.ms += 2
      stand.walls.loads()
      stand.walls.release('w1')
      await new Promise((resolve) => void setTimeout(resolve, 30))
      stand.walls.rearm('w1', 60_000)
    }
    assert.deepEqual(new Set(stand.ranks), new Set(['ahead', 'parked']))
  })

  test('The peak is the maximum of all samples', async () => {
    using stand = standing()
    await operations.claim(stand.walls, job)
    await new Promise((resolve) => void setTimeout(resolve, 20))
    await stand.walls.kill('w1', 'killed')
    const [end] = stand.pushed as [Extract<Reply, { ended: string }>]
    assert.equal(end.peakBytes, 9)
  })

  test('A wall whose engine reports a loss ends', async () => {
    using stand = standing()
    stand.lose()
    await stand.walls.all()[0]!.gone
    assert.deepEqual(stand.order, ['killed', 'pushed', 'released'])
  })

  test('A request for the next job carries its run time so far', async () => {
    using stand = standing({ isSingleUse: false })
    await operations.claim(stand.walls, job)
    await operations.arm(stand.walls, { ...request, op: 'arm', deadline: 60_000, ran: 25 })
    await operations.arm(stand.walls, { ...request, op: 'arm', deadline: 60_000 })
    assert.deepEqual(stand.rearmed, [25, 0])
  })

  test('A wall that is armed after its deadline ends at its deadline', async () => {
    using stand = standing({ isSingleUse: false })
    await operations.claim(stand.walls, { ...job, deadline: 0 })
    assert.throws(() => stand.walls.rearm('w1', 60_000), hasCode('CONFLICT'))
    await stand.walls.all()[0]!.gone
    assert.equal((stand.pushed[0] as Extract<Reply, { ended: string }>).how, 'deadline')
    assert.deepEqual(stand.rearmed, [])
  })

  test('An idle wall has no deadline, and its memory bound stays in force', async () => {
    using stand = standing({ isSingleUse: false })
    await operations.claim(stand.walls, { ...job, deadline: 1 })
    await operations.rest(stand.walls, { ...request, op: 'rest' })
    await new Promise((resolve) => void setTimeout(resolve, 60))
    assert.deepEqual(stand.order, [])
    stand.used.bytes = 11
    await stand.walls.all()[0]!.gone
    assert.equal((stand.pushed[0] as Extract<Reply, { ended: string }>).how, 'memory')
  })

  test('A wall that is armed without enforced bounds ends', async () => {
    using stand = standing()
    assert.throws(() => stand.walls.rearm('w1', 1000), hasCode('CONFLICT'))
    await stand.walls.all()[0]!.gone
    assert.deepEqual(stand.order, ['killed', 'pushed', 'released'])
  })

  test('An ability that its engine lacks is unavailable', async () => {
    using stand = standing()
    const asked = { ...request, op: 'capture', bytes: 1 } as const
    await assert.rejects(async () => operations.capture(stand.walls, asked), hasCode('UNAVAILABLE'))
    const phases = [{ afterMs: 0, allow: [] }]
    await assert.rejects(
      async () => operations.calls(stand.walls, { ...request, op: 'calls', phases }),
      hasCode('UNAVAILABLE'),
    )
    assert.deepEqual(
      await operations.callers(stand.walls, {
        ...request,
        op: 'callers',
        from: '127.0.0.1',
        local: 1,
        remote: 2,
      }),
      { value: [] },
    )
  })
})

/** A wall of an engine without processes. */
function standing({ isSingleUse = true } = {}) {
  const order: string[] = []
  const pushed: Reply[] = []
  const claims: ClaimBounds[] = []
  const tightened: EnclosureBounds[] = []
  const refuses: boolean[] = []
  const ranks: string[] = []
  const rearmed: number[] = []
  const used = { ms: 0, bytes: 9 }
  const { promise: lost, resolve: lose } = Promise.withResolvers<void>()
  const { promise: ended, resolve: end } = Promise.withResolvers<EnclosureEnd>()
  const { promise: gone, resolve: goneNow } = Promise.withResolvers<void>()
  const enclosure = {
    id: 'w1',
    wall: { calls: [] },
    isSingleUse,
    lost,
    ended,
    calls: undefined,
    memory: undefined,
    zones: undefined,
    connections: undefined,
    async claim(bounds: ClaimBounds) {
      claims.push(bounds)
      return { spent: false, enforced: heldBy, bytes: 5, idleBytes: 5 }
    },
    async tighten(bounds: EnclosureBounds) {
      tightened.push(bounds)
      if (refuses.shift()) throw new MayflyError('UNAVAILABLE', 'Cannot tighten it')
      return heldBy
    },
    closeEgress() {},
    rearm: (ranMs: number) => void rearmed.push(ranMs),
    rank: (rank: WallRank) => void ranks.push(rank),
    isOutOfMemory: () => false,
    cpuTime: () => ({ sinceStartMs: used.ms, sinceClaimMs: used.ms }),
    sample: () => ({ bytes: used.bytes, bytesMax: 10, isOutOfMemory: false }),
    async kill() {
      order.push('killed')
      end({ isOutOfMemory: false, detail: '', exit })
      await gone
      return { tookMs: 0, isGone: true }
    },
    async [Symbol.asyncDispose]() {
      order.push('released')
      goneNow()
    },
  } as unknown as Enclosure
  const push = (reply: Reply) => {
    order.push('pushed')
    pushed.push(reply)
  }
  const walls = new LiveWalls({ push, sampleEveryMs: 2, memoryBytes: undefined })
  walls.add(enclosure)
  const seen = { order, pushed, claims, tightened, refuses, ranks, rearmed }
  return { walls, ...seen, used, lose, [Symbol.dispose]: () => void walls.close() }
}

function hasCode(code: string) {
  return (thrown: unknown) => thrown instanceof MayflyError && thrown.code === code
}
