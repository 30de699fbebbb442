import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { assemble } from '../../../src/assemble/assemble.ts'
import { loadConfig } from '../../../src/config/load.ts'
import { systemClock } from '../../../src/contract/clock.ts'
import { MayflyError } from '../../../src/contract/error.ts'
import type { JobRequest } from '../../../src/contract/job.ts'
import type { Outcome } from '../../../src/contract/outcome.ts'
import type { Provider } from '../../../src/contract/provider.ts'
import type { SessionRequest } from '../../../src/contract/session.ts'
import { strengthOf } from '../../../src/contract/tier.ts'
import { newJob } from '../../../src/job.ts'
import { openCgroups } from '../../../src/os/cgroup.ts'
import { createSparePools } from '../../../src/pool/spare-pools.ts'
import { Box } from '../../../src/sdk/box.ts'
import { startWarden } from '../../../src/sdk/start-warden.ts'
import { endedBeforeExec, readSession, sessionJob } from '../../../src/sessions/session-job.ts'
import { createProcessProvider } from '../../../src/tiers/process/provider.ts'
import type { WardenClient } from '../../../src/walls/client.ts'
import type { End } from '../case.ts'
import { limits } from './bounds.ts'
import { LeftoverCounter, type LeftBehind } from './left-behind.ts'
import { programOf, type ProcessBait, type ProcessCase } from './case.ts'

/** The providers that run whole processes. */
export const wallNames = ['bubblewrap', 'embedded'] as const
export type WallName = (typeof wallNames)[number] | 'gvisor' | 'qemu' | 'user-mode-linux' | 'podman'

export interface Walls extends AsyncDisposable {
  /** Ends all walls and the warden. Idempotent. Resolves with the leftovers of walls on this machine. */
  close(): Promise<LeftBehind>
  /** Resources of the walls that live, on this machine. */
  held(): LeftBehind
  /** State folder, with the leases of walls. */
  readonly state: string
  /** Whether control groups count the memory of walls, that of the kernel included. */
  readonly areCounted: boolean
  /** Number of walls so far. */
  readonly count: number
  run(job: JobRequest): Promise<Outcome>
  /** Opens a session, as `Mayfly.open` does. */
  open(asked: SessionRequest): Promise<Box>
  /** Reason why a provider is unavailable here; undefined if available. */
  absent(name: WallName): Promise<string | undefined>
}

export interface WallsWish {
  /** Layers to leave out, by their names in `Wall.layers`. */
  readonly without?: readonly string[]
  /** Programs and layers of this machine to treat as missing. */
  readonly hide?: readonly string[]
  /** State folder with the images of machines. */
  readonly imageState?: string
  /** Accepts incomplete walls, which the product never does. */
  readonly unproved?: boolean
}

/** The library's own pipeline, with a warden that can leave a layer out. */
export async function openWalls({ unproved, ...options }: WallsWish = {}): Promise<Walls> {
  const state = mkdtempSync(path.join(tmpdir(), 'hostile-state-'))
  // Many machines at once take their time on a busy host.
  const server = { queue_wait: '10m' } as const
  const object = { state, escalation: { 0: 'process' }, server } as const
  const { config } = loadConfig({ object, env: {}, cwd: tmpdir() })
  const counter = new LeftoverCounter(state)
  const warden = await startWarden({ stateFolder: state, ...options })
  const providers = unproved
    ? wallNames.map((jailKind) => unprovedBy(jailKind, warden, options))
    : []
  const assembly = assemble({ config, warden, kind: 'library', providers })
  const who = { tenant: 'default', principal: 'library', origin: 'library' } as const
  const caller = { signal: new AbortController().signal, tap: undefined }
  let closed: Promise<LeftBehind> | undefined
  const close = async () => {
    await assembly[Symbol.asyncDispose]()
    return await counter.left()
  }
  return {
    close: () => (closed ??= close()),
    held: () => counter.held(),
    state,
    areCounted:
      openCgroups()?.controllers.includes('memory') === true &&
      !options.without?.includes('memory cgroup') &&
      !options.hide?.includes('cgroup'),
    get count() {
      return counter.walls
    },
    run: (job) => assembly.run(newJob(job, who, systemClock), caller),
    async open(request) {
      const asked = readSession(request)
      const job = sessionJob(asked, who, systemClock)
      const opened = await assembly.sessions.open(job, { signal: caller.signal })
      if (opened.kind === 'ended') throw endedBeforeExec(opened.outcome)
      return new Box(assembly, assembly.sessions.held.add(opened.session, job, asked), who)
    },
    async absent(name) {
      const proved = (await assembly.providers()).find(({ provider }) => provider.name === name)
      if (!proved) return `there is no provider "${name}"`
      return proved.availability.available ? undefined : proved.availability.reason
    },
    async [Symbol.asyncDispose]() {
      await (closed ??= close())
      for (const own of [state, `${state}-warden`]) rmSync(own, { recursive: true, force: true })
    },
  }
}

/** The product's own provider without the proof that would refuse an incomplete wall; that proof must miss the layers. */
function unprovedBy(
  jailKind: (typeof wallNames)[number],
  warden: WardenClient,
  { without = [] }: WallsWish,
): Provider {
  const emitter = { emit() {} }
  const stock = createSparePools(systemClock, emitter)
  const openEgressPath = (): never => {
    throw new Error('Nothing here is granted a way out')
  }
  const parts = { jailKind, warden, emitter, least: 0, most: 2, openEgressPath }
  const provider = createProcessProvider({ ...parts, warm: (kind) => stock.createPool(kind) })
  const strength = strengthOf.process
  return {
    ...provider,
    async detect() {
      const proved = await provider.detect()
      for (const layer of without)
        if (proved.available) assert.ok(!proved.layers.includes(layer), `${layer} is there`)
        else assert.ok(proved.reason.includes(`${layer} is missing`), proved.reason)
      return { available: true, strength, layers: [], missing: [] }
    },
  }
}

export interface Ran {
  readonly end: End
  readonly outcome?: Outcome
  /** All output, concatenated. */
  readonly text: string
}

/** Code of a case, and the milliseconds that it has. */
export interface Given {
  readonly body: string
  readonly bait: ProcessBait
  readonly timeout: number
}

/** Runs a case's job; a refusal at the entry point is an end too. */
export async function runOn(
  walls: Walls,
  wall: WallName,
  { language, files = [], second }: ProcessCase,
  { body, bait, timeout }: Given,
): Promise<Ran> {
  const job: JobRequest = {
    code: programOf(language, body, bait),
    language,
    entry: 'program',
    provider: wall,
    limits: { ...limits, timeout },
    artifacts: 'inline',
    // A second job gets no files: all it finds is the first one's.
    ...(body !== second && { files: files.map((file) => ({ ...file })) }),
  }
  try {
    const outcome = await walls.run(job)
    return { end: outcome.status, outcome, text: textOf(outcome) }
  } catch (error) {
    if (error instanceof MayflyError) return { end: 'rejected', text: error.message }
    throw error
  }
}

function textOf({ result, error, stdout, stderr, artifacts }: Outcome): string {
  const contents = artifacts.map(
    ({ path: name, content = '' }) =>
      `${name}\n${Buffer.from(content, 'base64').toString('latin1')}`,
  )
  return [JSON.stringify([result, error]), stdout, stderr, ...contents].join('\n')
}
