import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { suite, test } from 'node:test'
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import { probeTenant, WorkerSpares } from './worker-spares.ts'

/** Worker spares over a fake warden: a start lasts until the test finishes it. */
function stand({ keepReady = true, wallsMax = 100 } = {}) {
  const killed: string[] = []
  const sent: string[] = []
  const starts: { readonly spares: number; finish(): void }[] = []
  let count = 0
  const warden = {
    start(_program: string, { spares }: { readonly spares: number }) {
      const { promise, resolve } = Promise.withResolvers<unknown>()
      const wall = { id: `w${count++}`, layers: [], idleBytes: 0, took: 1 }
      const socket = Object.assign(new Duplex({ read() {}, write: (_1, _2, done) => done() }), {
        ref: () => undefined,
        unref: () => undefined,
      })
      starts.push({ spares, finish: () => resolve({ wall, socket }) })
      return promise
    },
    kill: (wall: string) => Promise.resolve(void killed.push(wall)),
    arm: (wall: string) => void sent.push(`arm ${wall}`),
    rest: (wall: string) => void sent.push(`rest ${wall}`),
    onLost: () => () => undefined,
    onEnded: () => undefined,
  }
  const workers = new WorkerSpares({
    program: 'isolated-vm',
    warden: warden as never,
    emitter: { emit: () => undefined },
    spares: 8,
    spareMiB: 128,
    wallsMax,
    keepReady,
  })
  /** A wall of this tenant, started for it. */
  async function take(tenant: string) {
    const taken = workers.take(tenant)
    starts.at(-1)!.finish()
    return (await taken).wall
  }
  return { workers, starts, sent, killed, take }
}

suite('A worker that drops its guest', () => {
  test('is awaited by one job of its tenant if none is idle, and never by another tenant', async () => {
    const { workers, starts, take } = stand({ keepReady: false })
    const wall = await take('a')
    const clears = Promise.withResolvers<boolean>()
    workers.give(wall, clears.promise)
    void workers.take('b')
    const first = workers.take('a')
    let isTaken = false
    void first.then(() => (isTaken = true))
    void workers.take('a')
    await turn()
    assert.equal(starts.length, 3, 'two of them start a worker')
    assert.ok(!isTaken, 'it still drops its guest')
    clears.resolve(true)
    assert.deepEqual(await first, { wall, pool: 'hit' })
  })

  test('after its proof is awaited by the first job of any tenant', async () => {
    const { workers, starts } = stand({ keepReady: false })
    const proof = workers.take(probeTenant)
    starts[0]!.finish()
    const { wall } = await proof
    const clears = Promise.withResolvers<boolean>()
    workers.give(wall, clears.promise)
    const first = workers.take('a')
    await turn()
    assert.equal(starts.length, 1, 'no second worker is started')
    clears.resolve(true)
    assert.deepEqual(await first, { wall, pool: 'hit' })
    await workers.close()
  })

  test('is idle afterwards', async () => {
    const { workers, starts, take } = stand({ keepReady: false })
    const wall = await take('a')
    workers.give(wall, Promise.resolve(true))
    await turn()
    assert.equal((await workers.take('a')).wall, wall)
    assert.equal(starts.length, 1)
  })

  test('too late is killed, and no job gets it', async () => {
    for (const isAwaited of [true, false]) {
      const { workers, starts, killed, take } = stand({ keepReady: false })
      const wall = await take('a')
      const clears = Promise.withResolvers<boolean>()
      workers.give(wall, clears.promise)
      const waiting = isAwaited ? workers.take('a') : undefined
      clears.resolve(false)
      await turn()
      const next = waiting ?? workers.take('a')
      await turn()
      assert.deepEqual([starts.length, killed], [2, ['w0']])
      starts[1]!.finish()
      assert.notEqual((await next).wall, wall)
    }
  })

  test('is evicted for another tenant', async () => {
    const { workers, killed, take } = stand({ keepReady: false, wallsMax: 1 })
    const wall = await take('a')
    workers.give(wall, new Promise(() => undefined))
    void workers.take('b')
    assert.deepEqual(killed, ['w0'])
  })
})

test('The deadline of an idle worker is disarmed once, and not during a job', async () => {
  const { workers, starts, sent } = stand({ keepReady: false })
  const starting = [workers.take('a'), workers.take('a')]
  for (const { finish } of starts) finish()
  const [idle, busy] = await Promise.all(starting)
  for (const { wall } of [idle!, busy!]) wall.deadline.begin(60_000)
  workers.give(idle!.wall)
  const until = performance.now() + 10_000
  while (sent.length < 3 && performance.now() < until) await sleep(10)
  await sleep(300)
  assert.deepEqual(sent, ['arm w0', 'arm w1', 'rest w0'])
  await workers.close()
})

test('A worker that was claimed for its proof is claimed again for its first tenant', async () => {
  const { workers, starts } = stand({ keepReady: false })
  const proof = workers.take(probeTenant)
  starts[0]!.finish()
  const { wall } = await proof
  wall.memoryBound = 128
  for (const held of [undefined, 128]) {
    workers.give(wall)
    assert.equal((await workers.take('a')).wall, wall)
    assert.equal(wall.memoryBound, held)
    wall.memoryBound = 128
  }
  await workers.close()
})

test('Concurrent jobs get separate starts; only the first waits for the start in flight', async () => {
  const { workers, starts } = stand()
  void workers.ready()
  const taken = Promise.all(['a', 'a', 'a'].map((tenant) => workers.take(tenant)))
  assert.deepEqual(
    starts.map(({ spares }) => spares),
    [8, 1, 1],
  )
  for (const { finish } of starts.slice(0, 2)) finish()
  await turn()
  assert.equal(starts.length, 3, 'none is kept ready while a job waits')
  starts[2]!.finish()
  const walls = (await taken).map(({ wall }) => wall.wall.id)
  assert.equal(new Set(walls).size, 3)
  await turn()
  assert.deepEqual(
    starts.map(({ spares }) => spares),
    [8, 1, 1, 8],
  )
  await workers.close()
})

test('A worker that was started for a waiting job is used after the others', async () => {
  const { workers, starts } = stand({ keepReady: false })
  const ready = workers.ready()
  starts[0]!.finish()
  await ready
  const stocked = await workers.take('a')
  const waiting = workers.take('a')
  starts[1]!.finish()
  const bare = await waiting
  assert.deepEqual([stocked.pool, bare.pool], ['hit', 'miss'])
  workers.give(stocked.wall)
  workers.give(bare.wall)
  assert.equal((await workers.take('a')).wall, stocked.wall)
  await workers.close()
})
