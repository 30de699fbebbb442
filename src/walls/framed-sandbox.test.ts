import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { suite, test } from 'node:test'
import { callClasses, type CallClass } from '../contract/calls.ts'
import { allControls, noNetwork, type Controls } from '../contract/controls.ts'
import { MayflyError } from '../contract/error.ts'
import { wallAnswerMsMax } from '../contract/wall-answer.ts'
import type { EgressPath } from './egress-path.ts'
import { FramedSandbox } from './framed-sandbox.ts'
import type { GuestKind } from './guest-kind.ts'
import { programGuest } from './program-guest.ts'
import { workerGuest } from './worker-guest.ts'

/** Races between the opening of a sandbox's egress path and its tightening or end, with mock walls. */
const controls: Controls = { ...allControls, memory: 2 ** 20, cpu: 1, processes: 4 }
const guests: Readonly<Record<string, (options: never) => GuestKind>> = {
  process: programGuest,
  worker: workerGuest,
}

function played() {
  const opening = Promise.withResolvers<EgressPath>()
  const seen: { network: unknown; isClosed: boolean } = { network: undefined, isClosed: false }
  const egressPath: EgressPath = {
    trust: undefined,
    listen: () => undefined,
    fetch: () => Promise.reject(new Error('nobody asks')),
    attempts: [],
    tighten: (to) => void (seen.network = to.network),
    close: () => void (seen.isClosed = true),
  }
  const wall = {
    wall: { id: 'w', layers: [], calls: [], idleBytes: 0 },
    streams: { stdout: new PassThrough(), stderr: new PassThrough() },
    deadline: { isOwn: true, own: () => undefined },
    ref: () => undefined,
    boundFrames: () => undefined,
    listen: () => undefined,
    send: () => undefined,
    kill: () => Promise.resolve(),
  }
  const parts = {
    provider: 'played',
    profile: { controls, limits: {}, schedule: { phases: [] } },
    wall,
    warden: { tighten: () => new Promise((then) => void setTimeout(then, 5, {})) },
    emitter: { emit: () => undefined },
    give: () => undefined,
    pool: 'hit',
    listener: { close: () => undefined },
    openEgressPath: () => opening.promise,
    held: {},
  }
  return { parts, seen, open: () => opening.resolve(egressPath) }
}

const task = { run: 'r', language: 'python', capabilities: [], files: [] } as never
const turn = () => new Promise((then) => void setImmediate(then))

for (const [name, guest] of Object.entries(guests)) {
  const make = (parts: object) => new FramedSandbox('s', parts as never, guest(parts as never))

  suite(`While the egress path of a ${name} is being opened`, () => {
    test('a tightening is applied once it is open', async () => {
      const { parts, seen, open } = played()
      const sandbox = make(parts)
      void sandbox.run(task, {} as never)
      await sandbox.tighten({ ...controls, network: noNetwork })
      open()
      await turn()
      assert.deepEqual(seen.network, noNetwork)
    })

    test('concurrent tightenings are both applied, in either order of completion', async () => {
      const { parts, seen, open } = played()
      const sandbox = make({ ...parts, ownsWall: true })
      void sandbox.run(task, {} as never)
      const both = [
        sandbox.tighten({ ...controls, network: noNetwork, cpu: 0.5 }),
        sandbox.tighten({ ...controls, processes: 2 }),
      ]
      open()
      await turn()
      assert.deepEqual(seen.network, noNetwork)
      const [, last] = await Promise.all(both)
      assert.deepEqual(seen.network, noNetwork)
      assert.deepEqual([last!.controls.network, last!.controls.processes], [noNetwork, 2])
    })

    test('the path is closed if the task ends', async () => {
      const { parts, seen, open } = played()
      const sandbox = make(parts)
      void sandbox.run(task, {} as never)
      sandbox.kill({ status: 'cancelled' })
      open()
      await turn()
      assert.ok(seen.isClosed)
    })
  })
}

test('An order that fails because its wall has ended leaves nothing open; any other one fails', async () => {
  for (const [code, alive, isClosed] of [
    ['NOT_FOUND', true, true],
    ['UNAVAILABLE', false, true],
    ['UNAVAILABLE', true, false],
  ] as const) {
    const { parts } = played()
    const warden = { tighten: () => Promise.reject(new MayflyError(code, 'Cannot tighten it')) }
    const all = { ...parts, warden, wall: { ...parts.wall, alive } }
    const sandbox = new FramedSandbox('s', all as never, programGuest(all as never))
    const order = sandbox.tighten({ ...controls, cpu: 0.5 })
    if (!isClosed) await assert.rejects(order, { code })
    else assert.deepEqual((await order).unenforced, [])
  }
})

test('An order that the wall refuses, or holds late, costs no later order', async () => {
  const { parts } = played()
  const asked: unknown[] = []
  const first = Promise.withResolvers<never>()
  const tighten = (_wall: string, bounds: object) => {
    asked.push(bounds)
    return asked.length === 1 ? first.promise : Promise.resolve({})
  }
  const all = { ...parts, warden: { tighten }, wall: { ...parts.wall, alive: true } }
  const sandbox = new FramedSandbox('s', all as never, programGuest(all as never))
  const late = sandbox.tighten({ ...controls, cpu: 0.5 })
  const shut = { ...controls, network: noNetwork }
  assert.deepEqual((await sandbox.tighten(shut)).unenforced, [])
  first.reject(new MayflyError('UNAVAILABLE', 'Cannot tighten it'))
  await assert.rejects(late, { code: 'UNAVAILABLE' })
  assert.deepEqual((await sandbox.tighten(shut)).controls.cpu, 1)
  assert.deepEqual(asked, [{ cpu: 0.5 }])
  const { controls: held } = await sandbox.tighten({ ...shut, processes: 2 })
  assert.deepEqual([held.cpu, held.processes, asked.at(-1)], [1, 2, { processes: 2 }])
})

test('A class of calls that a phase has closed is not asked for again by a later order, but another class is', async () => {
  const { parts } = played()
  const asked: unknown[] = []
  const lost = new MayflyError('UNAVAILABLE', 'Cannot close calls')
  const warden = {
    ...parts.warden,
    calls: (_wall: string, phases: readonly { readonly allow: readonly CallClass[] }[]) => {
      asked.push(phases[0]!.allow)
      return asked.length === 1 ? Promise.reject(lost) : Promise.resolve({ answers: {} })
    },
  }
  const own = { ...parts.wall.wall, calls: callClasses, layers: ['sentinel'] }
  const all = { ...parts, warden, wall: { ...parts.wall, alive: true, wall: own } }
  const sandbox = new FramedSandbox('s', all as never, programGuest(all as never))
  const shut = { ...controls, syscalls: ['network', 'outside', 'process', 'write'] }
  const open = callClasses.filter((name) => name !== 'exec')
  await assert.rejects(sandbox.tighten(shut), { code: 'UNAVAILABLE' })
  assert.deepEqual((await sandbox.tighten(shut)).unenforced, [])
  assert.deepEqual(asked, [open, open])
  const { controls: held } = await sandbox.tighten({ ...shut, cpu: 0.5 })
  assert.deepEqual([held.cpu, held.syscalls, asked.length], [0.5, shut.syscalls, 2])
  await sandbox.tighten({ ...held, syscalls: ['network', 'outside', 'write'] })
  assert.deepEqual(asked.at(-1), ['network', 'write', 'outside'])
})

test('A worker that other guests share keeps its CPU and memory open, and says so', async () => {
  const { parts } = played()
  const sandbox = new FramedSandbox('s', parts as never, workerGuest(parts as never))
  const less = { ...controls, cpu: 0.5, memory: 2 ** 19, processes: 2 }
  for (let times = 0; times < 2; times++) {
    const held = await sandbox.tighten(less)
    assert.deepEqual([...held.unenforced].sort(), ['cpu', 'memory'])
    assert.deepEqual(held.controls, { ...controls, processes: 2 })
  }
})

test('A sandbox has the methods of the parts that its kind of guest supplies, and no others', async () => {
  const { parts } = played()
  const optional = ['hold', 'listen', 'endZone'] as const
  const has = (guest: GuestKind) => {
    const sandbox = new FramedSandbox('s', parts as never, guest)
    return optional.map((name) => sandbox[name] !== undefined)
  }
  assert.deepEqual(has(programGuest(parts as never)), [true, true, true])
  assert.deepEqual(has(workerGuest(parts as never)), [false, false, false])
  const shared = new FramedSandbox('s', parts as never, workerGuest(parts as never))
  await assert.rejects(shared.freeze(), { code: 'UNAVAILABLE' })
  assert.deepEqual(await shared.capture(), { kind: 'none', parts: [] })
})

test('A freeze for the capture at the end has a deadline beyond the limit of its caller, any other freeze none', async () => {
  const { parts } = played()
  const holds: unknown[] = []
  const warden = {
    freeze: async (_wall: string, hold?: number) => void holds.push(hold),
    release: () => Promise.resolve({ peakBytes: 0, cpuMs: 0 }),
  }
  const all = { ...parts, warden }
  const sandbox = new FramedSandbox('s', all as never, programGuest(all as never))
  await sandbox.freeze()
  await sandbox.hold?.()
  assert.equal(holds[0], undefined)
  assert.ok(Number(holds[1]) > wallAnswerMsMax)
})
