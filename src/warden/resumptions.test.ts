import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import type { Socket } from 'node:net'
import { suite, test } from 'node:test'
import type { Enclosure, Engine, Resumption } from '../contract/engine.ts'
import { MayflyError } from '../contract/error.ts'
import type { MachineSave } from '../contract/machine-save.ts'
import { Resumptions } from './resumptions.ts'
import type { StartedEnclosure } from './start.ts'

const save = { mechanism: 'other', program: 'python' } as MachineSave
const started = { value: { id: 'w1' } } as StartedEnclosure

suite('A resumption', () => {
  test('is taken once, by a random name', async () => {
    const { resumptions } = played()
    const begun = await resumptions.begin(save)
    const { resumption } = begun.value as { resumption: string }
    assert.match(resumption, /^r[0-9a-f]{16}$/)
    assert.equal(await resumptions.take(resumption), started)
    await assert.rejects(resumptions.take(resumption), { code: 'NOT_FOUND' })
  })

  test('is one of four at once', async () => {
    const { resumptions } = played()
    for (let count = 0; count < 4; count++) await resumptions.begin(save)
    await assert.rejects(resumptions.begin(save), { code: 'OVERLOADED' })
  })

  test('ends its machine if it is not taken in time, and makes room', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const { resumptions, killed } = played()
    const { value } = await resumptions.begin(save)
    t.mock.timers.tick(600_000)
    await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual(killed, ['w1'])
    const { resumption } = value as { resumption: string }
    await assert.rejects(resumptions.take(resumption), { code: 'NOT_FOUND' })
  })

  test('rejects with the cause of its engine, and is refused by an engine without saves', async () => {
    const why = new MayflyError('PROTOCOL', 'Cannot read the save of a machine: it is late')
    const { resumptions } = played(Promise.reject(why))
    const { value } = await resumptions.begin(save)
    await assert.rejects(resumptions.take((value as { resumption: string }).resumption), why)
    const none = new Resumptions({
      engineFor: () => ({}) as Engine,
      start: () => Promise.resolve(started),
      kill: () => undefined,
    })
    await assert.rejects(none.begin(save), { code: 'UNAVAILABLE' })
  })

  test('releases its machine where the start is refused, and survives one that is never resumed', async (t) => {
    const caught: unknown[] = []
    const note = (error: unknown) => void caught.push(error)
    process.on('unhandledRejection', note)
    t.after(() => process.off('unhandledRejection', note))
    const refusal = new MayflyError('OVERLOADED', 'Cannot start a wall: 880 are alive')
    const begun = async (resumed: Promise<Enclosure>) => {
      const socket = new Duplex() as Socket
      const engine = { resume: () => Promise.resolve({ socket, resumed }) } as unknown as Engine
      const start = () => Promise.reject(refusal)
      const parts = { engineFor: () => engine, start, kill: () => undefined }
      const resumptions = new Resumptions(parts)
      const { value } = await resumptions.begin(save)
      const { resumption } = value as { resumption: string }
      await assert.rejects(resumptions.take(resumption), refusal)
    }
    const released = Promise.withResolvers<void>()
    const dispose = async () => released.resolve()
    const enclosure = { [Symbol.asyncDispose]: dispose } as unknown as Enclosure
    await begun(Promise.resolve(enclosure))
    await released.promise
    const late = Promise.withResolvers<Enclosure>()
    await begun(late.promise)
    late.reject(new Error('its sender is gone'))
    for (let turns = 0; turns < 3; turns++) await new Promise((then) => void setImmediate(then))
    assert.deepEqual(caught, [])
  })
})

function played(resumed: Promise<Enclosure> = Promise.resolve({} as Enclosure)) {
  const killed: string[] = []
  const socket = new Duplex() as Socket
  const resumption: Resumption = { socket, resumed }
  resumed.catch(() => undefined)
  const engine = { resume: () => Promise.resolve(resumption) } as unknown as Engine
  const resumptions = new Resumptions({
    engineFor: () => engine,
    start: async (machine) => (await machine, started),
    kill: (wall) => void killed.push(wall),
  })
  return { resumptions, killed }
}
