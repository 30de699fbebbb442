import type {
  ClaimBounds,
  ClaimReadBack,
  Enclosure,
  EnclosureBounds,
  EnclosureEnd,
  EnclosureSockets,
  EngineReport,
  MemorySample,
} from '../../../contract/engine.ts'
import type { CallClass } from '../../../contract/calls.ts'
import { MayflyError } from '../../../contract/error.ts'
import type {
  BoundMechanisms,
  LimitHit,
  ProgramName,
  Wall,
  WallUsage,
} from '../../../contract/warden.ts'
import { CpuPauses } from '../cpu-pauses.ts'
import { throttledTo } from '../group-bounds.ts'
import { claim, sampleOf, spentMs, tighten, wasEndedInside, type MachineJob } from './bounds.ts'
import { askStatus } from '../../../agent-wire/agent-questions.ts'
import { renewAgent } from '../../../agent-wire/make-unique.ts'
import { GuestCaptures } from './captures.ts'
import { GuestForks } from './forks.ts'
import { GuestWatch } from './guest-watch.ts'
import { AgentZones } from './agent-zones.ts'
import { runnerEnd, type RunnerEnd } from './ending.ts'
import { MachineEnclosure } from './machine-enclosure.ts'
import { bubblewrapLayers } from './jail-command.ts'
import { limitInside } from './limit-hit.ts'
import { JobFreezer } from './job-freezer.ts'
import { AgentCalls } from './agent-calls.ts'
import type { PolicyCompiler } from './policy-compiler.ts'
import { isConfined } from './runner.ts'
import { carrierProgram, type LiveMachine, type MachineKey } from './source.ts'
import { NestedPauses, type PauseReason } from './nested-pauses.ts'

/** Threads of a busy Node: main, libuv pool, V8 workers, garbage collector, and two that start later. */
const OWN_TASKS = { node: 16, python: 1 } as const
const STATUS_MS_MAX = 1_000
const RENEW_MS_MAX = 30_000
/** Longest wait for the carrier's exit, in milliseconds; the job's own deadline is shorter. */
const LIFE_MS_MAX = 2 ** 31 - 1

/** Layer name: programs run as an ordinary user of the guest, not as its root. */
export const guestUser = 'guest user'

export interface GuestWallParts {
  readonly program: ProgramName
  readonly key: MachineKey
  /** Bytes of scratch. */
  readonly disk: number
  readonly tookMs: number
  /** Whether a cgroup limits its memory. */
  readonly isBounded: boolean
  readonly kind: GuestWallKind
  readonly policies: PolicyCompiler
  readonly report: (report: EngineReport) => void
  /** For a machine that was forked, which stands still with its job frozen. */
  readonly forkedWith?: ForkedCalls
}

/** Classes of system calls of a machine that was forked. */
interface ForkedCalls {
  /** Open in its save. */
  readonly open: readonly CallClass[]
  /** Open in its parent at its start; the claim closes the others. */
  readonly allow: readonly CallClass[]
}

/** Properties of all walls of one engine. */
export interface GuestWallKind {
  /** Mechanism of its requests. */
  readonly mechanism: Wall['mechanism']
  /** The job's channel is a serial line. */
  readonly isLine?: true
  /** Name of the process that runs a guest, for the log. */
  readonly processName: string
  /** Outer layers, outermost first. */
  readonly layers: readonly string[]
  /** Layers around that process; by default those of bubblewrap. */
  readonly jail?: readonly string[]
  /** Layers that this kind of wall lacks. */
  missing(machine: LiveMachine): readonly string[]
}

/** Enclosure of a machine. */
export class GuestEnclosure extends MachineEnclosure implements Enclosure {
  readonly wall: Wall
  readonly lost: Promise<void>
  readonly ended: Promise<EnclosureEnd>
  readonly calls: AgentCalls
  readonly memory: GuestCaptures | undefined
  readonly limitTrust = 'guest'
  forks: GuestForks | undefined
  zones: AgentZones | undefined
  readonly #job: MachineJob
  readonly #machine: LiveMachine
  readonly #processName: string
  readonly #nested: NestedPauses
  readonly #freezer: JobFreezer
  readonly #cpuPauses: CpuPauses
  readonly #watch: GuestWatch
  readonly #report: GuestWallParts['report']
  readonly #lost = Promise.withResolvers<void>()
  #isKilled = false
  /** Forked, and not claimed yet. */
  #isStopped: boolean
  readonly #forkedWith: ForkedCalls | undefined
  #sampled: MemorySample | undefined
  #processes = 0
  #renewing: Promise<void> | undefined
  /** End of the runner as the guest reported it: untrusted, for display. */
  #said: RunnerEnd | undefined
  #wasEndedInside = false
  /** Limit used up when a runner exited with an error, as the guest reported it. */
  #limitAtEnd: LimitHit | undefined

  constructor(machine: LiveMachine, parts: GuestWallParts) {
    super(machine)
    const { idleBytes } = this
    this.#machine = machine
    this.#processName = parts.kind.processName
    this.#isStopped = parts.forkedWith !== undefined
    this.#forkedWith = parts.forkedWith
    this.#freezer = new JobFreezer(machine.agent, this.#isStopped)
    this.#nested = new NestedPauses({
      freeze: (reason) => this.#pause(reason),
      thaw: (reason) => this.#resume(reason),
      async resumeDuring() {
        await machine.process.thaw()
        return () => machine.process.freeze()
      },
    })
    const pausable = {
      pause: () => this.#nested.pause('cpu'),
      resume: () => this.#nested.resume('cpu'),
    }
    this.#cpuPauses = new CpuPauses(pausable, () => spentMs(machine.process))
    this.#job = {
      machine,
      disk: parts.disk,
      ownTasks: OWN_TASKS[parts.program === 'node' ? 'node' : 'python'],
      idleBytes,
      held: undefined,
      isHeldInside: false,
      bytesAtClaim: idleBytes,
      bytesSeen: idleBytes,
      killsAtClaim: 0,
      tasksPeak: 0,
      tasksRefused: 0,
      spentBefore: spentMs(machine.process),
      spentSeen: 0,
    }
    this.#watch = new GuestWatch({
      agent: machine.agent,
      report: (seen) => parts.report({ of: machine.process.id, seen }),
    })
    this.#report = parts.report
    const { policies, key, forkedWith } = parts
    const hasProfile = isConfined(machine.agent, key)
    const open = forkedWith && { open: forkedWith.open }
    this.calls = new AgentCalls(machine.agent, { policies, hasProfile, ...open })
    const { agent, copy, forker } = machine
    const guest = { id: this.id, agent, pauses: this.#nested, freezer: this.#freezer }
    this.memory = copy && new GuestCaptures(copy, guest)
    this.forks = forker && new GuestForks(forker, guest, () => this.#encloser(parts))
    this.wall = wallOf(machine, parts, { idleBytes, calls: this.calls.closable })
    this.lost = this.#lost.promise
    this.ended = this.#end()
    void this.#watchRunner()
  }

  /** Called while the guest stands still for its save. A class that is being closed counts as open: it can be closed again. */
  #encloser(parts: GuestWallParts) {
    const { open } = this.calls
    return (forked: LiveMachine) =>
      new GuestEnclosure(forked, {
        ...parts,
        tookMs: 0,
        forkedWith: { open, allow: this.calls.open },
      })
  }

  handOver(): EnclosureSockets {
    return { handle: this.#machine.takeJobChannel() }
  }

  /** A forked machine runs its agent alone until the claim has made it another one, and then its job. */
  async claim(bounds: ClaimBounds): Promise<ClaimReadBack> {
    const isForked = this.#isStopped
    this.#isStopped = false
    assertNoZones(this.#machine.agent)
    // A copy would have zones whose deadlines nothing keeps.
    if (bounds.zones) this.forks = undefined
    if (isForked) await this.#machine.process.thaw()
    const read = await claim(this.#job, bounds)
    this.#watch.begin()
    // Refusals in its parent are none of its own. Fails closed: without an answer it is not claimed.
    if (isForked) await limitInside(this.#job, { countAnew: true, mayFork: false })
    if (this.#forkedWith) await this.calls.close([{ afterMs: 0, allow: this.#forkedWith.allow }])
    if (bounds.zones) this.zones = await this.#openZones(bounds.zones)
    if (isForked) await this.#freezer.thaw(RENEW_MS_MAX)
    return read
  }

  tighten(bounds: EnclosureBounds): Promise<BoundMechanisms> {
    return tighten(this.#job, bounds)
  }

  async freeze(): Promise<number> {
    const began = performance.now()
    await this.#nested.pause('owner')
    return performance.now() - began
  }

  async thaw(): Promise<void> {
    await this.#nested.resume('owner')
  }

  /** Returns the last sample again while the machine shuts down. */
  sample(nowMs: number): MemorySample {
    if (this.#sampled && (this.#isKilled || this.#said)) return this.#sampled
    const cores = throttledTo(this.#machine.process.cgroup, this.#job.held?.cpu)
    if (cores !== undefined) this.#cpuPauses.check(cores, nowMs)
    this.#sampled = sampleOf(this.#job)
    return this.#sampled
  }

  isOutOfMemory(): boolean {
    return this.#wasEndedInside || this.memoryKills > this.#job.killsAtClaim
  }

  /** By the word of the guest; of a machine that is paused or about to end as last said. */
  async limitHit(countAnew = false): Promise<LimitHit | undefined> {
    if (this.#said || this.#isKilled || this.#nested.isPausedBeside('cpu')) return this.#limitAtEnd
    const mayFork = this.calls.open.includes('process')
    try {
      return await limitInside(this.#job, { countAnew, mayFork })
    } catch {
      // The runner may have exited meanwhile, and the machine been killed.
      return this.#limitAtEnd
    }
  }

  async countAnew(): Promise<void> {
    await this.limitHit(true)
  }

  cpuTime() {
    const sinceStartMs = spentMs(this.#machine.process)
    return { sinceStartMs, sinceClaimMs: Math.max(0, sinceStartMs - this.#job.spentBefore) }
  }

  async usage(): Promise<WallUsage> {
    await this.#countProcesses()
    return this.usageWith(this.#processes)
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    this.#watch.end()
    this.zones?.close()
    await super[Symbol.asyncDispose]()
  }

  /** Undefined if the guest can make no zones of programs; the warden refuses the claim then. */
  async #openZones(rules: NonNullable<ClaimBounds['zones']>): Promise<AgentZones | undefined> {
    return await AgentZones.open({
      agent: this.#machine.agent,
      rules,
      report: (zone) => this.#report({ of: this.id, zone }),
      isPaused: () => this.#nested.isPaused,
      isFrozen: () => this.#freezer.mayBeFrozen,
      onStuck: this.#lost.resolve,
    })
  }

  /** Pauses of the CPU limit do not freeze the job: they occur every few milliseconds, and nothing inspects the guest then. */
  async #pause(reason: PauseReason): Promise<void> {
    const { process } = this.#machine
    if (reason !== 'cpu' && this.#job.held) await this.#freezer.freeze()
    try {
      await process.freeze()
    } catch (error) {
      // Race: it may have stopped all the same, or stop later. Without a reason to pause it nobody would resume it.
      await this.#resume(reason).catch(() => process.kill())
      throw error
    }
  }

  /**
   * Resumes the guest. Its clock was stopped, so the agent sets it and reseeds the generator, and only then the job is thawed. A
   * guest that does not do this in time is killed. A resume by the CPU limit does not wait, since the guest would run
   * unwatched.
   */
  async #resume(reason: PauseReason): Promise<void> {
    const { process, agent } = this.#machine
    await process.thaw()
    if (!this.#job.held) return
    this.#renewing ??= renewAgent(agent, RENEW_MS_MAX).finally(() => (this.#renewing = undefined))
    if (reason === 'cpu' && !this.#freezer.mayBeFrozen)
      return void this.#renewing.catch(() => undefined)
    try {
      await this.#renewing
      await this.#freezer.thaw(RENEW_MS_MAX)
    } catch (error) {
      process.kill()
      throw error
    }
  }

  protected override signalKill(): void {
    this.#isKilled = true
    this.#job.spentSeen = Math.max(this.#job.spentSeen, spentMs(this.#machine.process))
    super.signalKill()
  }

  /** Requests the process count from the guest, without carrier and runner. Without an answer the last count stays. */
  async #countProcesses(): Promise<void> {
    const { agent } = this.#machine
    if (this.#nested.isPaused) return
    try {
      const { count } = await askStatus(agent, STATUS_MS_MAX)
      this.#processes = Math.max(0, count - 2)
    } catch {
      // The guest is paused, or about to exit.
    }
  }

  /** Ends the machine once its runner has exited and all output was delivered. */
  async #watchRunner(): Promise<void> {
    try {
      const exited = await this.#machine.agent.take(
        'exited',
        LIFE_MS_MAX,
        ({ program }) => program === carrierProgram,
      )
      const said = runnerEnd(exited)
      if (said.signal === 'SIGKILL') this.#wasEndedInside = await wasEndedInside(this.#job)
      if (said.exitCode !== 0) this.#limitAtEnd = await this.limitHit()
      this.#said = said
      this.signalKill()
    } catch {
      if (!this.#isKilled) this.#lost.resolve()
    }
  }

  async #end(): Promise<EnclosureEnd> {
    const { exitCode, signal, said } = await this.#machine.process.ended
    if (!this.#isKilled) {
      // The machine ended or was killed before its program exited.
      this.#lost.resolve()
      await this.lost
    }
    const spent = Math.max(spentMs(this.#machine.process), this.#job.spentSeen)
    const own = `${this.#processName} ended (${exitCode ?? signal ?? 'unknown'})`
    return {
      isOutOfMemory: this.isOutOfMemory(),
      limit: this.#limitAtEnd,
      detail: this.#said?.detail ?? (said.trim() === '' ? own : `${own}: ${said.trim()}`),
      exit: {
        exitCode: this.#said ? this.#said.exitCode : exitCode,
        signal: this.#said ? this.#said.signal : signal,
        cpuMs: spent > 0 ? Math.max(0, spent - this.#job.spentBefore) : null,
      },
    }
  }
}

/** A copy of a guest whose programs are in zones: their names and deadlines are those of another wall. */
function assertNoZones({ hasZones }: LiveMachine['agent']): void {
  if (!hasZones) return
  throw new MayflyError('UNAVAILABLE', 'Cannot claim a copy of a machine with zones of programs')
}

function wallOf(
  machine: LiveMachine,
  parts: GuestWallParts,
  { idleBytes, calls }: Pick<Wall, 'idleBytes' | 'calls'>,
): Wall {
  const { id, uid, processes, cgroup } = machine.process
  const hasProfile = isConfined(machine.agent, parts.key)
  return {
    id,
    program: parts.program,
    pid: processes[0]!.pid,
    mechanism: parts.kind.mechanism,
    layers: [
      ...parts.kind.layers,
      'own kernel',
      ...(parts.key.isRoot ? [] : [guestUser]),
      ...(hasProfile ? ['apparmor'] : []),
      ...(parts.kind.jail ?? bubblewrapLayers),
      ...(uid === undefined ? [] : ['own uid']),
      ...(parts.isBounded ? ['memory cgroup'] : []),
      'memory watch',
    ],
    missing: [
      ...(uid === undefined ? ['own uid: walls share the uid of the user who started Mayfly'] : []),
      ...(parts.isBounded ? [] : ['memory cgroup: memory is limited only by sampling every 10 ms']),
      ...(cgroup?.controllers.includes('cpu')
        ? []
        : ['cpu quota: a guest above its CPU limit is paused for a while']),
      ...(hasProfile ? [] : [withoutProfile(parts.policies, calls)]),
      ...parts.kind.missing(machine),
    ],
    calls,
    image: machine.image,
    ...(machine.copy && { isImaged: true }),
    ...(machine.forker && { isForkable: true }),
    isCarried: true,
    ...(parts.kind.isLine && { isPaced: true }),
    countsTicks: true,
    idleBytes,
    took: parts.tookMs,
  }
}

function withoutProfile({ missing }: PolicyCompiler, calls: Wall['calls']): string {
  const why = missing ?? "the guest's kernel has none"
  return `apparmor: programs have no profile, so only the classes ${calls.join(' and ')} of system calls can be closed while they run (${why})`
}
