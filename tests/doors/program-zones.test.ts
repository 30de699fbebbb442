import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openLog } from '../../src/evidence/log-reader.ts'
import { Mayfly, MayflyError } from '../../src/index.ts'
import { test as pureTest } from 'node:test'
import { createContainerProvider } from '../../src/tiers/container/provider.ts'
import { createFirecrackerProvider } from '../../src/tiers/firecracker/provider.ts'
import { createGvisorProvider } from '../../src/tiers/gvisor/provider.ts'
import { createQemuProvider } from '../../src/tiers/microvm/provider.ts'
import { createUserKernelProvider } from '../../src/tiers/userkernel/provider.ts'
import type { Client } from '../../src/walls/client.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { isRunscThere, noRunsc } from '../conformance/gvisor.ts'
import { copyMachineState, machineState } from '../fixtures/machine-images.ts'
import { isUserKernelThere, noUserKernel } from '../walls/user-kernel-here.ts'
import { makePlace, startServer, whenReady, type Place, type Server } from './program.ts'

const missing = ['/usr/bin/perl', '/usr/bin/awk'].find((one) => !existsSync(one))
const images = await machineState()
const noImages = 'missing' in images && images.missing
const zones = {
  pearl: {
    program: 'perl',
    phases: [
      { name: 'much', for: '500ms', memory: '100MB', cpu: 0.8 },
      { name: 'less', for: '8s', cpu: 0.5 },
    ],
  },
  brief: { program: ['/usr/*/awk', 'awk'], phases: [{ name: 'work', for: '700ms', processes: 9 }] },
} as const

suite('Program zones, through the library', { skip: missing && `no ${missing}` }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-zones-'))
  const state = join(folder, 'state')
  let mayfly: Mayfly
  before(async () => {
    const schedules = {
      default: { phases: [{ name: 'full', for: '20s' }], zones },
      closing: {
        phases: [
          { name: 'full', for: '900ms' },
          { name: 'less', for: '9s', cpu: 0.3, memory: '90MB', network: 'none' },
        ],
        zones,
      },
    }
    mayfly = await Mayfly.open({ state, schedules: structuredClone(schedules) as never })
  })
  after(async () => {
    await mayfly.close()
    rmSync(folder, { recursive: true, force: true })
  })

  test('S2-7, S2-11: each zone has its own phases and end, which the outcome, the timeline and the record name', async () => {
    const code = `/usr/bin/awk 'BEGIN { while (1) n++ }'; perl -e 'sleep 1; print "on\\n"'; sleep 0.5`
    const {
      id,
      status,
      stdout,
      stderr,
      tier,
      zones: told,
      timeline,
    } = await mayfly.run({ language: 'sh', code })
    assert.deepEqual([status, stdout, tier], ['ok', 'on\n', 'process'], stderr)
    const [brief, pearl] = told?.programs ?? []
    assert.deepEqual(
      [brief, pearl].map((one) => [one?.zone, one?.kind, one?.parent, one?.phases, one?.why]),
      [
        ['brief', 'brief', 'main', ['work'], 'timeout'],
        ['pearl', 'pearl', 'main', ['much', 'less'], 'its programs have ended'],
      ],
    )
    assert.match(pearl!.program, /^\/usr\/bin\/perl/)
    assert.ok(['asked', 'seen'].includes(pearl!.entered))
    const { memory, cpu, processes } = pearl!.enforced
    assert.ok([memory, cpu].every((by) => by === 'cgroup' || by === 'watch'))
    assert.equal(processes, 'none')
    const lines = timeline.filter(({ zone }) => zone === 'pearl')
    assert.ok(timeline.some(({ zone }) => zone === 'brief'))
    assert.deepEqual(
      lines.map(({ event, phase, reason }) => [event, phase ?? reason ?? '']),
      [
        ['zone', ''],
        ['tightened', 'much'],
        ['phase', 'less'],
        ['tightened', 'less'],
        ['zone', 'its programs have ended'],
      ],
    )
    assert.equal(lines[0]?.fields?.['program'], pearl!.program)
    const times = timeline.map(({ at }) => at)
    assert.deepEqual(
      times,
      times.toSorted((a, b) => a - b),
    )
    using log = openLog(join(state, 'audit.db'))
    const line = log.last(1000, id).find(({ kind }) => kind === 'ended')
    const recorded = JSON.parse(String(line?.bodyText)).zones as readonly {
      zone: string
      why: string
    }[]
    assert.deepEqual(
      recorded.map(({ zone, why }) => [zone, why]),
      [
        ['brief', 'timeout'],
        ['pearl', 'its programs have ended'],
      ],
    )
  })

  test('Rights withdrawn from the program are withdrawn from each of its zones', async () => {
    const code = `perl -e 'sleep 2; print "on\\n"'; sleep 0.5`
    const network = { allow: ['example.com'] }
    const asked = { language: 'sh', code, network, schedule: 'closing' } as const
    const { status, stdout, stderr, timeline } = await mayfly.run(asked)
    assert.deepEqual([status, stdout], ['ok', 'on\n'], stderr)
    // A zone that began late follows its own phases from about that time.
    const closed = timeline.filter(
      ({ event, at, controls }) => event === 'tightened' && at >= 900 && controls?.cpu === 0.3,
    )
    const inBoth = ['main', 'pearl'].map(
      (name) => closed.find(({ zone }) => zone === name)?.controls,
    )
    for (const controls of inBoth) {
      const { cpu, memory, network: left } = controls ?? {}
      assert.deepEqual([cpu, memory, left], [0.3, 90 * 2 ** 20, { allow: [], deny: [] }])
    }
  })

  test('S2-24: a program zone is tightened and ended by the caller, never loosened, and the rest continues', async () => {
    const code = `perl -e 'sleep 60'; echo on`
    const [main] = await mayfly.initializeExecution(code, { language: 'sh' })
    const zone = { execution: main!.execution, id: 'pearl' }
    const begun = Promise.withResolvers<void>()
    const over = mayfly.monitorZones([main!], {
      on: (entry) => void (entry.zone === 'pearl' && begun.resolve()),
    })
    await begun.promise
    await assert.rejects(
      mayfly.tightenPolicy(zone, { memory: 2 ** 40 }),
      (error: unknown) => error instanceof MayflyError && error.code === 'CONFLICT',
    )
    const { held, controls } = await mayfly.tightenPolicy(zone, { memory: 50 * 2 ** 20 })
    assert.deepEqual([held, controls.memory], [true, 50 * 2 ** 20])
    await mayfly.terminateZone(zone)
    const { status, stdout, tier, zones: told, timeline } = await over
    assert.deepEqual([status, stdout, tier], ['ok', 'on\n', 'process'])
    assert.match(told!.programs![0]!.why, /ended by hand/)
    assert.ok(timeline.some(({ event, zone }) => event === 'terminated' && zone === 'pearl'))
  })
})

const otherWalls = [
  { provider: 'gvisor', missing: isRunscThere() ? false : noRunsc },
  { provider: 'user-mode-linux', missing: isUserKernelThere() ? noImages : noUserKernel },
] as const

pureTest(
  'Zones of programs are declared by QEMU, and not by containers, gVisor, Firecracker or user-mode kernels',
  () => {
    const parts = {
      warden: {} as Client,
      emitter: { emit() {} },
      warm: () => ({ take: () => undefined }) as never,
      least: 0,
      most: 0,
      openEgressPath: () => Promise.reject(new Error('no egress')),
    }
    const others = [
      createContainerProvider('podman', parts),
      createGvisorProvider(parts),
      createFirecrackerProvider(parts),
      createUserKernelProvider(parts),
    ]
    for (const { can, name } of others) assert.ok(!can.includes('program-zones'), name)
    assert.ok(createQemuProvider(parts).can.includes('program-zones'))
  },
)

suite('Zones of programs behind walls that make none', () => {
  for (const { provider, missing: skip } of otherWalls)
    test(
      `S2-28: a schedule with program zones is refused with the name of the zone behind ${provider}, and runs nothing`,
      { skip },
      async () => {
        const folder = mkdtempSync(join(tmpdir(), 'mayfly-zones-'))
        const state = join(folder, 'state')
        try {
          await copyMachineState(state)
          const phases = [{ name: 'full', for: '60s' }]
          const schedules = { default: { phases }, zoned: { phases, zones } }
          await using mayfly = await Mayfly.open({
            state,
            schedules: structuredClone(schedules) as never,
          })
          const asked = { language: 'sh', code: 'echo ran', provider } as const
          const { status, error, stdout } = await mayfly.run({ ...asked, schedule: 'zoned' })
          assert.deepEqual([status, error?.code, stdout], ['unavailable', 'UNAVAILABLE', ''])
          const reason = 'it makes no zones of programs, and the schedule has some'
          assert.ok(
            JSON.stringify(error?.details).includes(`"name":"${provider}","reason":"${reason}"`),
          )
          assert.equal((await mayfly.run(asked)).stdout, 'ran\n')
        } finally {
          rmSync(folder, { recursive: true, force: true })
        }
      },
    )
})

suite('Zones of programs, over HTTP', { skip: missing && `no ${missing}` }, () => {
  let place: Place
  let server: Server
  before(async () => {
    place = makePlace()
    writeFileSync(
      join(place.cwd, 'mayfly.toml'),
      `[ceilings]
timeout = "3m"
[schedules.default]
phases = [{ name = "full", for = "120s" }]
[schedules.default.zones.pearl]
program = "perl"
phases = [{ name = "work", for = "100s", memory = "100MB" }]
`,
    )
    server = await startServer(place, ['--config', 'mayfly.toml'])
    await whenReady(server)
  })
  after(async () => {
    await server.stop()
    place.remove()
  })

  async function ask(method: string, path: string, body?: unknown) {
    const headers = {
      authorization: `Bearer ${server.apiKey}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
    }
    const given = body === undefined ? {} : { body: JSON.stringify(body) }
    const response = await fetch(new URL(path, server.active), { method, headers, ...given })
    return { status: response.status, body: (await response.json()) as any }
  }

  async function until(id: string, is: (seen: any) => boolean) {
    for (let tries = 0; tries < 3000; tries++) {
      const { body } = await ask('GET', `/v1/zones/${id}`)
      if (is(body)) return body
      await sleep(20)
    }
    throw new Error('It never came to that')
  }

  test('S2-25: a program zone is listed, tightened and ended, and the rest continues', async () => {
    const code = `perl -e 'sleep 300'; echo on`
    const { status, body } = await ask('POST', '/v1/zones', { code, language: 'sh' })
    assert.equal(status, 202)
    const { id } = body
    const isThere = ({ zones: alive }: any) => alive.some((one: any) => one.zone === 'pearl')
    const seen = await until(id, isThere)
    assert.deepEqual(seen.zones[1], { zone: 'pearl', phase: null })
    const looser = await ask('POST', `/v1/zones/${id}/pearl/tighten`, {
      controls: { memory: '1GB' },
    })
    assert.deepEqual([looser.status, looser.body.code], [409, 'CONFLICT'])
    const tighter = await ask('POST', `/v1/zones/${id}/pearl/tighten`, {
      controls: { processes: 5 },
    })
    assert.deepEqual([tighter.status, tighter.body.zone, tighter.body.held], [200, 'pearl', true])
    assert.equal((await ask('DELETE', `/v1/zones/${id}/attic`)).status, 404)
    assert.equal((await ask('DELETE', `/v1/zones/${id}/pearl`)).status, 200)
    const over = await until(id, (one) => one.status === 'ok')
    const [{ zone, why }] = over.made.programs
    assert.equal(zone, 'pearl')
    assert.match(why, /ended by hand/)
    const outcome = await ask('GET', `/v1/executions/${id}`)
    assert.deepEqual([outcome.body.stdout, outcome.body.tier], ['on\n', 'process'])
  })
})
