/**
 * Runs a command in a folder (`mayfly exec`) through the job pipeline, with rooms of its own: the wall shows a folder of
 * this machine and inherits the caller's streams, so there is no pool, no guest protocol and no output gate.
 */
import type { Server } from 'node:net'
import { grantsNetwork, unlimited } from '../contract/controls.ts'
import { unlessGiven, withoutNetwork } from '../contract/default-variables.ts'
import { MayflyError } from '../contract/error.ts'
import type { Emitter, TimelineEntry } from '../contract/event.ts'
import type { CheckpointSigner } from '../evidence/checkpoint.ts'
import type {
  FolderEnd,
  FolderGrant,
  FolderLimit,
  FolderRefusal,
  FolderWall,
  FolderWallSpec,
} from '../contract/folder.ts'
import type { Job } from '../contract/job.ts'
import type { Outcome } from '../contract/outcome.ts'
import { lengthOf } from '../contract/phase.ts'
import type { Gate, Rooms, SandboxClaim, SupervisedRun, Supervisor } from '../contract/pipeline.ts'
import type { Profile } from '../contract/profile.ts'
import type { Sandbox, TaskEnd } from '../contract/provider.ts'
import { openRecord, type AuditRecord } from '../evidence/record.ts'
import { signalName } from '../lib/signal-name.ts'
import { run } from '../life.ts'
import { withLimit } from '../output/error.ts'
import { analyseCommand } from '../threat/command.ts'
import { EventStream } from '../telemetry/event-stream.ts'
import type { EgressPath } from '../walls/egress-path.ts'
import { wayOut } from '../folder-wall/way-out.ts'
import { egressFor } from './egress.ts'
import { commandJob, folderProvider, planFor, type CommandRequest } from './folder-plan.ts'

/** Traffic limits of one command: far above those of a job, because package managers and git transfer this much. */
const mostBytes = { sentMax: 2 ** 30, receivedMax: 16 * 2 ** 30 }
/** Maximum number of refusals in the timeline of a command. */
const REFUSALS_MAX = 64

export interface FolderRun extends CommandRequest {
  readonly signer: CheckpointSigner | undefined
  /** Starts the wall; the caller fills in the rest of its specification. */
  start(spec: FolderWallStart): FolderWall
  refused(refusal: FolderRefusal): void
  readonly signal: AbortSignal
}

export interface FolderWallStart extends Pick<
  FolderWallSpec,
  'timeoutMs' | 'memoryBytes' | 'processes' | 'files'
> {
  /** Serves the egress proxy on a socket inside the wall; undefined without a network. */
  readonly listening: ((server: Server) => void) | undefined
  readonly variables: Readonly<Record<string, string>>
  readonly refused: (refusal: FolderRefusal) => void
}

export interface FolderRan {
  readonly outcome: Outcome
  readonly end: FolderEnd | undefined
  readonly record: AuditRecord
}

/** Runs and records a command. Throws as `run` does. */
export async function runInFolder(asked: FolderRun): Promise<FolderRan> {
  const { clock, config, signer } = asked
  const emitter = new EventStream({ clock, sinks: [] })
  const record = openRecord({ stateFolder: config.state, clock, emitter, signer })
  record.closeDead()
  const life = new FolderLife(asked, record, emitter)
  const outcome = await run(life.job, life.rooms(), { signal: asked.signal })
  return { outcome, end: life.end, record }
}

class FolderLife {
  readonly job: Job
  end: FolderEnd | undefined
  readonly #asked: FolderRun
  readonly #record: AuditRecord
  readonly #emitter: Emitter
  readonly #entries: TimelineEntry[] = []
  #began = 0
  #network: EgressPath | undefined

  constructor(asked: FolderRun, record: AuditRecord, emitter: Emitter) {
    this.#asked = asked
    this.#record = record
    this.#emitter = emitter
    this.job = commandJob(asked)
  }

  rooms(): Rooms {
    const { clock } = this.#asked
    return {
      clock,
      ready: async () => undefined,
      verify: () => ({ kind: 'unsigned' }),
      analyse: async (job) => analyseCommand(job),
      prove: async () => undefined,
      profile: (job, verdict) => planFor(this.#asked, job, verdict),
      recall: (_job, _profile, _asker, work) => work(),
      acquire: async (profile) => await this.#acquire(profile),
      supervise: (sandbox, profile) => this.#supervise(sandbox, profile),
      watchSession: (_job, session) => session,
      behaviorScore: () => 0,
      takeBundle: () => undefined,
      answer: () => noCalls,
      gate: (profile) => ungated(profile),
      recordStart: (job, verdict, plan) => this.#record.begin(job, verdict, plan),
      ended: () => undefined,
      lost: () => undefined,
      compared: () => undefined,
    }
  }

  async #acquire(profile: Profile): Promise<SandboxClaim> {
    const { clock } = this.#asked
    const began = clock.now()
    const egress = await this.#openEgress(profile)
    const wall = this.#start(profile, egress)
    const sandbox = sandboxOf(this.job, wall)
    return {
      sandbox,
      queueTime: 0,
      startTime: clock.now() - began,
      destroyed: undefined,
      async [Symbol.asyncDispose]() {
        wall.kill()
        await wall.ended
        egress?.close()
      },
    }
  }

  async #openEgress({ controls, privateHosts }: Profile): Promise<EgressPath | undefined> {
    if (!grantsNetwork(controls.network)) return undefined
    const { config } = this.#asked
    const egress = egressFor(config, {
      emitter: this.#emitter,
      ownPorts: () => new Set(),
      outboundCheckFor: () => undefined,
      most: mostBytes,
    })
    return await egress.open(controls, this.job.id, { privateHosts })
  }

  #start(profile: Profile, egress: EgressPath | undefined): FolderWall {
    const { limits, schedule } = profile
    const { grant } = this.#asked
    const out = egress && wayOut(egress.trust)
    const life = Math.min(limits.timeout, lengthOf(schedule.phases))
    this.#began = this.#asked.clock.now()
    const wall = this.#asked.start({
      timeoutMs: life >= unlimited ? undefined : life,
      memoryBytes: limits.memory,
      processes: limits.processes,
      listening: egress && ((server) => egress.listen(server)),
      variables: {
        ...(!egress && unlessGiven(withoutNetwork, grant.variables)),
        ...grant.variables,
        ...out?.variables,
        ...givenOf(grant),
      },
      files: out?.files,
      refused: (refusal) => this.#refused(refusal),
    })
    void wall.ended.then((end) => (this.end = end))
    this.#network = egress
    return wall
  }

  #refused(refusal: FolderRefusal): void {
    const { what, path, rule } = refusal
    this.#asked.refused(refusal)
    if (this.#entries.length >= REFUSALS_MAX) return
    const at = this.#asked.clock.now() - this.#began
    const reason = `${what} of "${path}": ${rule}`
    this.#entries.push({ at, zone: 'main', event: 'denied', reason })
  }

  #supervise(sandbox: Sandbox, profile: Profile): Supervisor {
    return {
      isOver: false,
      rest: { controls: profile.controls, phases: profile.schedule.phases },
      run: () => this.#supervised(sandbox, profile),
      tighten: async () => false,
      terminate: () => undefined,
      zone: () => undefined,
      gone: () => undefined,
      lost: () => undefined,
      unheld: () => undefined,
      notice: () => undefined,
      soFar: () => ({ profile, timeline: this.#entries, events: {} }),
      async [Symbol.asyncDispose]() {},
    }
  }

  async #supervised(sandbox: Sandbox, { schedule }: Profile): Promise<SupervisedRun> {
    const end = await sandbox.run(noTask, noIo)
    const took = this.#asked.clock.now() - this.#began
    const isCut = end.status !== 'ok' && end.status !== 'error'
    const timeline: readonly TimelineEntry[] = [
      { at: 0, zone: 'main', event: 'phase', phase: schedule.phases[0]!.name },
      ...this.#entries,
      ...(isCut ? [this.#cut(took, end)] : []),
    ]
    // Attempts that are under way become entries.
    this.#network?.close()
    const network = this.#network?.attempts
    return { end: { ...end, ...(network && { network }) }, executionTime: took, timeline }
  }

  #cut(at: number, { status }: TaskEnd): TimelineEntry {
    return { at, zone: 'main', event: 'terminated', reason: status }
  }
}

function givenOf({ variables, given }: FolderGrant): Readonly<Record<string, string>> {
  return Object.fromEntries(given.flatMap((name) => pairOf(name, variables[name])))
}

const pairOf = (name: string, value: string | undefined) =>
  value === undefined ? [] : [[name, value]]

/** Adapts the wall to the pipeline's interface. */
function sandboxOf(job: Job, wall: FolderWall): Sandbox {
  const unable = (verb: string) => new MayflyError('CONFLICT', `Cannot ${verb} a wall of a folder`)
  return {
    id: job.id,
    provider: folderProvider,
    image: 'host',
    pool: 'none',
    held: { memory: 'watch', processes: 'rlimit' },
    tightens: [],
    run: async () => taskEndOf(await wall.ended),
    tighten: () => Promise.reject(unable('tighten')),
    freeze: () => Promise.reject(unable('freeze')),
    thaw: () => Promise.reject(unable('thaw')),
    watch: () => undefined,
    capture: () => Promise.reject(unable('capture')),
    kill: () => wall.kill(),
    receipt: undefined,
    async [Symbol.asyncDispose]() {
      wall.kill()
      await wall.ended
    },
  }
}

const nothing = { resultText: 'null', encoding: 'json', cpuTime: 0, artifacts: [] } as const

function taskEndOf({ code, signal, limit, notStarted }: FolderEnd): TaskEnd {
  if (limit !== undefined) return limitEnd[limit]
  if (code === 0) return { ...nothing, status: 'ok', exitCode: 0 }
  if (code !== null) return { ...nothing, status: 'error', exitCode: code, error: exitError(code) }
  if (signal !== null) {
    const name = signalName(signal) ?? `signal ${signal}`
    const error = { code: 'EXIT', message: `The command was ended by ${name}` }
    return { ...nothing, status: 'error', signal: name, error }
  }
  const message = notStarted ?? 'The wall of the command broke'
  return { ...nothing, status: 'failed', error: { code: 'WALL_LOST', message } }
}

const limitEnd: Readonly<Record<FolderLimit, TaskEnd>> = {
  timeout: {
    ...nothing,
    status: 'timeout',
    error: { code: 'TIMEOUT', message: 'The time to run was over' },
  },
  memory: {
    ...nothing,
    status: 'limit',
    error: { code: 'MEMORY', message: 'The command used more memory than its limit' },
  },
}

const exitError = (code: number) => ({ code: 'EXIT', message: `The command exited with ${code}` })

const noTask = {} as Parameters<Sandbox['run']>[0]
const noIo = { stdout() {}, stderr() {}, released() {} }
const noCalls = {
  call: () => Promise.reject(new MayflyError('NOT_FOUND', 'Nothing answers calls here')),
  called: undefined,
  [Symbol.dispose]() {},
}

/** Passes nothing: the command writes to the caller's own file descriptors. */
function ungated(profile: Profile): Gate {
  return {
    stdout() {},
    stderr() {},
    answered() {},
    close: ({ status, error }) => ({
      status,
      result: null,
      encoding: 'json',
      ...(error && { error: withLimit(error, profile) }),
      stdout: '',
      stderr: '',
      truncated: { stdout: false, stderr: false },
      artifacts: [],
      display: [],
    }),
  }
}
