import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { Enclosure } from '../contract/engine.ts'
import { MayflyError } from '../contract/error.ts'
import type { ForkedWall } from '../contract/warden.ts'
import { EnclosureLife } from './enclosure-life.ts'
import { Forks } from './forks.ts'
import type { StartedEnclosure } from './start.ts'

const bounds = { memory: 100, cpu: 1, io: 1000, processes: 8 }
const asked = { wall: 'w1', children: 2 }

suite('A fork', () => {
  test('starts as many walls as were asked for, and its save is removed after the last one', async () => {
    const { forks, saves } = played()
    const { fork } = (await forks.begin(asked)).value as ForkedWall
    assert.match(fork, /^f[0-9a-f]{16}$/)
    await forks.start(fork)
    assert.deepEqual(saves, ['saved'])
    await forks.start(fork)
    assert.deepEqual(saves, ['saved', 'removed'])
    await assert.rejects(forks.start(fork), { code: 'NOT_FOUND' })
  })

  test('keeps its save until walls that are started at once have all started', async () => {
    const { forks, saves } = played()
    const { fork } = (await forks.begin(asked)).value as ForkedWall
    const first = forks.start(fork)
    const second = forks.start(fork).then(() => saves.length)
    await first
    assert.equal(await second, 2)
    assert.deepEqual(saves, ['saved', 'removed'])
  })

  test('removes its save where a wall does not start', async () => {
    const { forks, saves } = played({ start: 'fails' })
    const { fork } = (await forks.begin({ ...asked, children: 1 })).value as ForkedWall
    await assert.rejects(forks.start(fork), { code: 'OVERLOADED' })
    assert.deepEqual(saves, ['saved', 'removed'])
  })

  test('is forgotten by request, after five minutes, and with the warden', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    for (const end of ['request', 'time', 'close'] as const) {
      const { forks, saves } = played()
      const { fork } = (await forks.begin(asked)).value as ForkedWall
      if (end === 'request') await forks.forget(fork)
      if (end === 'time') t.mock.timers.tick(300_000)
      if (end === 'close') await forks.close()
      await new Promise((resolve) => setImmediate(resolve))
      assert.deepEqual(saves, ['saved', 'removed'], end)
      await forks.forget(fork)
      assert.deepEqual(saves, ['saved', 'removed'], end)
    }
  })

  test('ends nothing where its save cannot be removed', async (t) => {
    const caught: unknown[] = []
    const note = (error: unknown) => void caught.push(error)
    process.on('unhandledRejection', note)
    t.after(() => process.off('unhandledRejection', note))
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const { forks } = played({ remove: () => Promise.reject(new Error('EROFS')) })
    const { fork } = (await forks.begin(asked)).value as ForkedWall
    t.mock.timers.tick(300_000)
    for (let turns = 0; turns < 3; turns++) await new Promise((then) => void setImmediate(then))
    assert.deepEqual(caught, [])
    await assert.rejects(forks.start(fork), { code: 'NOT_FOUND' })
  })

  test('is one of four at once', async () => {
    const { forks } = played()
    const begun = await Promise.allSettled(Array.from({ length: 6 }, () => forks.begin(asked)))
    const refused = begun.flatMap((one) => (one.status === 'rejected' ? [one.reason.code] : []))
    assert.deepEqual(refused, ['OVERLOADED', 'OVERLOADED'])
  })

  test('is refused for a wall without a job, and for one that its engine cannot fork', async () => {
    await assert.rejects(played({ parent: 'parked' }).forks.begin(asked), { code: 'CONFLICT' })
    await assert.rejects(played({ parent: 'plain' }).forks.begin(asked), { code: 'UNAVAILABLE' })
  })

  test('starts walls for its own tenant alone, within the bounds that their parent has by then', async () => {
    const { forks, life, children } = played()
    const { fork } = (await forks.begin(asked)).value as ForkedWall
    life.tighten({ memory: 50 })
    await forks.start(fork)
    const [child] = children
    const within = { ...bounds, memory: 50 }
    for (const tenant of ['b', ''])
      assert.throws(() => child!.claim(tenant, within), { code: 'CONFLICT' })
    for (const name of ['memory', 'cpu', 'io', 'processes'] as const)
      for (const value of name === 'memory' ? [51] : [within[name] + 1, undefined]) {
        const own = { ...within, [name]: value }
        assert.throws(() => child!.claim('a', own), { code: 'CONFLICT' }, `${name} ${value}`)
      }
    child!.claim('a', within)
  })
})

function played({
  parent = 'claimed',
  start = 'starts',
  remove,
}: {
  readonly parent?: 'claimed' | 'parked' | 'plain'
  readonly start?: 'starts' | 'fails'
  readonly remove?: () => Promise<never>
} = {}) {
  const saves: string[] = []
  const children: EnclosureLife[] = []
  const life = new EnclosureLife('w1', true)
  life.park()
  if (parent !== 'parked') life.claim('a', bounds)
  const control = {
    async fork() {
      saves.push('saved')
      const release =
        remove ?? (async () => void (saves.at(-1) === 'removed' || saves.push('removed')))
      return { pausedMs: 1, start: async () => ({}) as Enclosure, release }
    },
  }
  const enclosure = { forks: parent === 'plain' ? undefined : control } as Enclosure
  const forks = new Forks({
    find: () => ({ enclosure, life }),
    async start(fork, within) {
      if (start === 'fails') throw new MayflyError('OVERLOADED', 'Cannot start a wall')
      await fork()
      const child = new EnclosureLife('w2', true)
      child.park()
      child.keepWithin(within)
      children.push(child)
      return { value: { id: 'w2' } } as StartedEnclosure
    },
  })
  return { forks, saves, life, children }
}
