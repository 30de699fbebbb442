import assert from 'node:assert/strict'
import { basename } from 'node:path'
import { identify } from '../../src/os/proc.ts'
import { tryReadText } from '../../src/os/read.ts'
import { after, before, isSampled, suite, test } from '../fixtures/drawn.ts'
import { copyMachineState } from '../fixtures/machine-images.ts'
import { until } from '../conformance/stand.ts'
import { descendantsOf } from '../hostile/proc.ts'
import { isQemuThere, machinesOf, noQemu } from '../walls/qemu-here.ts'
import {
  goneAfterKillMs,
  hostTraces,
  leasesIn,
  makePlace,
  remaining,
  remainingOf,
  startServer,
  whenReady,
  type Server,
} from './program.ts'

/**
 * SIGKILL to server, warden and QEMU in turn, each in the middle of a job on a clone. After each no process is left, the next job
 * is answered by a clone again, and after a restart clones are waiting for jobs again.
 */
const skip = isQemuThere() ? false : noQemu
const victims = ['server', 'warden', 'qemu'] as const
const rounds = process.env['MAYFLY_LONG'] ? 34 : isSampled ? 1 : 2
const waits = `
import time
print('begin', flush=True)
time.sleep(300)`
/** Jobs until one finds a waiting clone. */
const triesMax = 50
const adds = 'result = input["n"] + 1'

suite('Kills in the middle of jobs on clones', { skip, timeout: 3_600_000 }, () => {
  const place = makePlace()
  let missing: string | undefined
  let server: Server
  /** Printed by the first start alone. */
  let apiKey = ''
  before(async () => {
    missing = await copyMachineState(place.state)
    if (missing !== undefined) return
    server = await ready()
    apiKey = server.apiKey
  })
  after(async () => {
    if (missing === undefined) {
      assert.deepEqual(await server.stop(), { code: 0, left: [] })
      await server[Symbol.asyncDispose]()
    }
    place.remove()
  })

  async function ready(): Promise<Server> {
    const started = await startServer(place)
    await whenReady(started)
    return started
  }

  async function execute(body: object, accept = 'application/json'): Promise<Response> {
    return await fetch(new URL('/v1/executions', server.active), {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept,
        authorization: `Bearer ${apiKey}`,
      },
      body: JSON.stringify({ language: 'python', tier: 'microvm', ...body }),
    })
  }

  /** Runs a job; resolves with `hit` if a waiting clone took it. */
  async function answers(n: number): Promise<unknown> {
    const reply = await execute({ code: adds, input: { n }, limits: { timeout: '120s' } })
    const outcome = (await reply.json()) as Record<string, unknown>
    const { status, result, provider, metrics } = outcome
    assert.deepEqual([status, result, provider], ['ok', n + 1, 'qemu'], JSON.stringify(outcome))
    return (metrics as { readonly pool: unknown }).pool
  }

  /** Runs jobs until a waiting clone takes one; each that finds none asks for more. */
  async function refilled(): Promise<void> {
    for (let tries = 1; (await answers(tries)) !== 'hit'; tries++)
      assert.ok(tries < triesMax, 'no clone waits for a job')
  }

  /** Resolves once a job prints, with its further events as text. */
  async function running(): Promise<{ readonly rest: Promise<string> }> {
    const { body } = await execute(
      { code: waits, limits: { timeout: '300s' } },
      'text/event-stream',
    )
    const decoder = new TextDecoder()
    const reader = body!.getReader()
    let said = ''
    while (!said.includes('begin')) {
      const { done, value } = await reader.read()
      assert.ok(!done, said)
      said += decoder.decode(value, { stream: true })
    }
    const rest = async () => {
      for (;;) {
        const { done, value } = await reader.read()
        if (done) return said
        said += decoder.decode(value, { stream: true })
      }
    }
    return { rest: rest().catch(() => said) }
  }

  for (const victim of victims)
    test(`S0-3: five seconds after SIGKILL to the ${victim} no process is left, and the next job is answered`, async (t) => {
      if (missing !== undefined) return t.skip(missing)
      for (let round = 0; round < rounds; round++) {
        await answers(round)
        const { rest } = await running()
        const all = [server.child.pid!, ...descendantsOf(server.child.pid!)].map(identify)
        if (victim === 'qemu') {
          const { qemu, jails } = await wholeMachines(server)
          const parts = partsOf([...qemu, ...jails], server)
          for (const pid of qemu) process.kill(pid, 'SIGKILL')
          assert.match(await rest, /"WALL_LOST"/)
          assert.deepEqual(await remaining(parts, goneAfterKillMs), [])
          await answers(round)
          continue
        }
        const walls = leasesIn(place).map((lease) => basename(lease, '.json'))
        assert.ok(walls.length > 0)
        const tracesBefore = hostTraces([])
        process.kill(victim === 'server' ? server.pid : server.child.pid!, 'SIGKILL')
        await rest
        const left = await remainingOf(all, goneAfterKillMs)
        // A launcher (bwrap) whose parent dies during its start blocks for ever: the next start sweeps it.
        assert.deepEqual(
          left.filter((one) => !one.includes('(bwrap)')),
          [],
        )
        await server[Symbol.asyncDispose]()
        server = await ready()
        assert.deepEqual(await remainingOf(all, goneAfterKillMs), [])
        assert.deepEqual(hostTraces(walls), tracesBefore)
        const leased = () =>
          leasesIn(place).filter((lease) => walls.includes(basename(lease, '.json')))
        await until(
          () => leased().length === 0,
          'no lease of the walls to be left',
          goneAfterKillMs,
        )
        await refilled()
      }
    })
})

/** Machines once each jail has its QEMU: a spare that is being started would outlive the signal. */
async function wholeMachines({ child }: Server) {
  const look = () => machinesOf(descendantsOf(child.pid!))
  const isWhole = ({ qemu, jails }: ReturnType<typeof look>) =>
    jails.every((jail) => descendantsOf(jail).some((pid) => qemu.includes(pid)))
  let found = look()
  await until(() => isWhole((found = look())), 'each jail to have its QEMU')
  return found
}

/** Processes of these machines: those in a control group of one, above it up to its warden, and below it. */
function partsOf(machines: readonly number[], { child, pid: own }: Server): readonly number[] {
  const groups = new Set(machines.map(groupOf))
  groups.delete(groupOf(child.pid!))
  const below = new Set([...machines, ...machines.flatMap(descendantsOf)])
  const isPart = (pid: number) =>
    groups.has(groupOf(pid)) || below.has(pid) || descendantsOf(pid).some((one) => below.has(one))
  return descendantsOf(child.pid!).filter((pid) => pid !== own && isPart(pid))
}

/** Empty once the process has ended. */
const groupOf = (pid: number) => tryReadText(`/proc/${pid}/cgroup`) ?? ''
