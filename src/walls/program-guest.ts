import { callClasses, classesToClose, type CallClass } from '../contract/calls.ts'
import { grantsNetwork, type Control, type Controls } from '../contract/controls.ts'
import {
  packageVariables,
  threadVariables,
  unattendedVariables,
  unlessGiven,
  withoutNetwork,
} from '../contract/default-variables.ts'
import type { Event, Point } from '../contract/event.ts'
import type { Profile } from '../contract/profile.ts'
import type { Task, TaskEnd } from '../contract/provider.ts'
import {
  sampleEveryMs,
  type BoundMechanisms,
  type LimitHit,
  type Wall,
  type WallCost,
} from '../contract/warden.ts'
import type { Frame } from '../lib/frames.ts'
import { resolvesWithin } from '../lib/within.ts'
import { artifactCap, type ArtifactCap } from './artifact-cap.ts'
import { peakMemory } from './peak-memory.ts'
import { carriedTask } from './carried-task.ts'
import { endOfProgram, limitsUsed, withOwnExit } from './ends.ts'
import { ListenerEgress, type ListenerEgressOptions } from './guest-egress.ts'
import { GuestFiles } from './guest-files.ts'
import type { ClosableCalls, Freed, GuestFrames, GuestKind } from './guest-kind.ts'
import { eventOfLife, noUsage, type GuestLife } from './guest-life.ts'
import type { HandleEnd } from './handle.ts'
import { memoryVariables } from './memory-variables.ts'
import { MemoryCopies } from './memory-capture.ts'
import type { LaunchForked } from './fork-wall.ts'
import { lifeArmer } from './program-claim.ts'
import { ProgramOutput } from './program-output.ts'
import { ProgramSession } from './program-session.ts'
import { isLargeInput, isSentAhead, framesAheadOf } from './send-ahead.ts'
import { closableBy, hasSentinel, heldByCalls, reportCalls } from './sentinel-calls.ts'
import { wallZones } from './wall-zones.ts'
import {
  headed,
  kind,
  programAnsweredSchema,
  programEndSchema,
  releasedSchema,
  reportedBy,
  programBytesMax,
} from './wire.ts'

/** Controls that every wall of programs can close while its program runs. */
export const tightenedAlways = [
  'network',
  'cpu',
  'memory',
  'processes',
  'capabilities',
] as const satisfies readonly Control[]

/** Time to read output after a reported end, before remaining processes are stopped. */
const UNREAD_MS_MAX = 20
/** Time to read output of a program that reported its end, prints its error and exits by itself. */
const EXIT_UNREAD_MS_MAX = 600

/** Length of the message of a job from which its layout takes memory that counts. */
const LARGE_UNITS = 64 * 1024

export interface ProgramOptions extends ListenerEgressOptions {
  /** Mechanism that enforces each bound, read back from the kernel. */
  readonly held: BoundMechanisms
  /** Controls that it can close while it runs, beyond those of every wall of programs. */
  readonly tightens?: readonly Control[]
  /** Set for a wall that was forked: the session of its parent goes on in it. */
  readonly isForked?: boolean
  /** Makes the sandbox of a wall that is forked from this one; without it the session cannot be forked. */
  readonly launch?: LaunchForked
  /** By default the cap of this server. */
  readonly artifactCap?: ArtifactCap
}

/**
 * Guest that is a whole program. Stdout and stderr have a socket each; frames come on a third one, whose writer shares a
 * process with user code.
 */
export function programGuest(options: ProgramOptions): GuestKind {
  return (life) => {
    const { wall, profile } = life.parts
    const egress = new ListenerEgress(life, options)
    const files = new GuestFiles(profile.limits.artifacts, options.artifactCap ?? artifactCap)
    const output = new ProgramOutput(life, files)
    const cap = options.artifactCap ?? artifactCap
    const { launch, isForked = false } = options
    const isForkable = launch && wall.wall.isForkable
    const session = new ProgramSession(life, { output, cap, ...(isForkable && { launch }) })
    life.hooks = {
      beforeKill: () => output.beforeKill(),
      cutOff: () => files.discard(),
      ended: () => life.egressPath?.close(),
    }
    return {
      tightens: [...tightenedAlways, ...(options.tightens ?? []), ...closableBy(wall.wall.calls)],
      held: { ...options.held, access: accessOf(wall.wall) },
      ownsWall: true,
      egress,
      output,
      frames: new ProgramFrames(life, { files, output, session, isForked }),
      session,
      calls: sentinelCalls(life),
      memory: new MemoryCopies(),
      zones: wallZones(life),
      destroy: () => destroy(life, egress, files, output),
    }
  }
}

/** Mechanisms that refuse files, programs and sockets regardless of their owner, as named in the outcome. */
function accessOf({ layers, isCarried }: Wall): string {
  // The seccomp filter of a machine is on its VMM process and does not see calls of the guest's programs.
  const all = isCarried ? ['apparmor'] : ['landlock', 'seccomp']
  return all.filter((name) => layers.includes(name)).join(', ') || 'none'
}

interface ProgramFramesParts {
  readonly files: GuestFiles
  readonly output: ProgramOutput
  readonly session: ProgramSession
  readonly isForked: boolean
}

class ProgramFrames implements GuestFrames {
  readonly #life: GuestLife
  readonly #isForked: boolean
  readonly #files: GuestFiles
  readonly #output: ProgramOutput
  readonly #session: ProgramSession
  #calls: ReturnType<typeof reportCalls> | undefined
  /** The end frame has been read, and the output before it is being drained. */
  #hasReportedEnd = false
  /** Killed by this class after the reported end. */
  #isStopped = false
  /**
   * Set if the warden ended the wall between the reported end and the last output; takes precedence over the reported
   * end.
   */
  #endWhileDraining: HandleEnd | undefined
  /** Time at which the job was sent, on the monotonic clock. */
  #sentAt = -Infinity
  #isReleased = false
  #isLarge = false

  constructor(life: GuestLife, { files, output, session, isForked }: ProgramFramesParts) {
    this.#life = life
    this.#files = files
    this.#output = output
    this.#session = session
    this.#isForked = isForked
  }

  /** Sends the job. Subscribes to the sentinel first: its reports may arrive before the frame of the release. */
  send(task: Task): void {
    const { egressPath, wall: id, parts } = this.#life
    const { wall, warden, emitter, profile } = parts
    if (hasSentinel(wall.wall) || wall.wall.isCarried)
      this.#calls = reportCalls({
        warden,
        wall: id,
        run: task.run,
        emitter,
        brought: [task.name ?? 'job.sh', ...task.files.map(({ path }) => path)].map(
          (name) => `/work/${name}`,
        ),
        onGuestEvent: (point, fields) => this.#emitToLife(task.run, point, fields),
      })
    this.#sentAt = performance.now()
    const text = JSON.stringify({ ...carried(task, profile), trust: egressPath?.trust })
    wall.mayOutliveSocket = !task.session
    if (this.#isForked) return this.#goOn()
    this.#isLarge = text.length > LARGE_UNITS
    for (const piece of framesAheadOf(task)) {
      this.#isLarge = true
      wall.send(kind.ahead, piece)
    }
    this.#life.sendTask(text, programBytesMax)
  }

  /** Lets a forked guest go on. Its session draws its random values anew, and answers with a release. */
  #goOn(): void {
    const { wall } = this.#life.parts
    wall.carried?.go()
    wall.send(kind.forked, JSON.stringify({ protocol: 1 }))
  }

  #emitToLife(run: string, point: Point, fields: Event['fields']): void {
    const about = { run, zone: 'main', actor: 'agent', trust: 'guest', fields } as const
    this.#life.sink?.(eventOfLife(point, about))
  }

  receive(frame: Frame): void {
    const life = this.#life
    if (life.isEnded || this.#hasReportedEnd) return
    if (life.task?.session && this.#isReleased) return void this.#session.receive(frame)
    switch (frame.kind) {
      case kind.released:
        return this.#release(frame.payload)
      case kind.artifact:
        return this.#keep(this.#files.artifact(frame.payload))
      case kind.display:
        return this.#keep(this.#files.show(frame.payload))
      case kind.answered:
        return life.answered(frame.payload, programAnsweredSchema)
      case kind.end:
        return void this.#end(frame.payload)
      default:
        return life.garbled(`unknown frame ${frame.kind}`)
    }
  }

  /**
   * Starts the life. The warden's deadline, for the case that the supervisor does not end it, was set by the claim, and is
   * moved with the first sample: most jobs have ended by then. At once for a large job, whose layout by the runner would count
   * as its own peak of memory.
   */
  #release(payload: Buffer): void {
    const life = this.#life
    if (this.#isReleased) return life.garbled('a second release')
    const at = releasedSchema.safeParse(payload.toString('latin1'))
    if (!at.success) return life.garbled('unreadable release')
    this.#isReleased = true
    const arm = lifeArmer(life.parts)
    if (this.#isLarge) arm()
    life.sample(this.#isLarge ? undefined : arm)
    this.#calls?.released(at.data)
    life.io?.released()
    this.#output.open()
    if (life.task?.session) this.#session.begin()
  }

  #keep(refused: TaskEnd | string | undefined): void {
    if (typeof refused === 'string') this.#life.garbled(refused)
    else if (refused) this.#life.cutOff(refused)
  }

  async #end(payload: Buffer): Promise<void> {
    const life = this.#life
    const read = headed(programEndSchema, payload)
    if (!read) return life.garbled('unreadable end')
    // Before the release a runner may itself run out of space; after it, only the warden reports limits.
    if (read.head.status === 'limit' && this.#isReleased)
      return life.garbled('a limit that no program can know of')
    this.#hasReportedEnd = true
    const isRead = read.head.exits ? this.#output.exited() : this.#output.drained()
    const isPrompt = resolvesWithin(isRead, read.head.exits ? EXIT_UNREAD_MS_MAX : UNREAD_MS_MAX)
    const [counted, wasPrompt] = await Promise.all([this.#used(read.head.status), isPrompt])
    const used = limitsUsed(counted, read.head.error)
    const seen = wasPrompt ? used : await this.#stopped()
    if (!wasPrompt) this.#output.ended()
    await isRead
    if (this.#endWhileDraining) return life.finish(this.#cutBy(this.#endWhileDraining))
    if (seen.isOutOfMemory || used.isOutOfMemory)
      return life.finish(withOwnExit(this.#cutBy(atLimit('memory', seen)), read.head))
    if (used.limit && read.head.status !== 'ok')
      return life.finish(withOwnExit(this.#atLimit(used, seen), read.head))
    life.finish({
      ...reportedBy(read.head),
      status: life.statusOf(read.head.status),
      isReported: true,
      resultText: read.rest.toString('utf8'),
      cpuTime: this.#cpuTimeOf(read.head.cpuTimeMs, seen),
      artifacts: this.#files.artifacts,
      display: this.#files.display,
      ...peakMemory(
        { ...seen, idleBytes: life.parts.wall.wall.idleBytes },
        read.head,
        life.controls.memory,
      ),
    })
  }

  /**
   * Stops user code after its reported end, and returns its usage: orphans could otherwise continue while a slow reader
   * drains the output. A wall that will be captured is frozen instead.
   */
  async #stopped(): Promise<WallCost> {
    const { wall, parts } = this.#life
    if (parts.profile.capture) await parts.warden.freeze(wall).catch(() => undefined)
    else {
      this.#isStopped = true
      await parts.wall.kill()
    }
    return await this.#released()
  }

  /** Usage of the wall, also of one that has just ended. */
  async #released(hasFailed = false): Promise<WallCost> {
    const { wall, parts } = this.#life
    return await parts.warden.release(wall, hasFailed).catch(() => noUsage)
  }

  /** Larger of reported and measured CPU time: a program can report less than it used. */
  #cpuTimeOf(reported: number, seen: WallCost): number {
    const isExact = this.#life.parts.wall.wall.countsTicks && seen !== noUsage
    return isExact ? seen.cpuMs : Math.max(this.#life.cpuTimeOf(reported), seen.cpuMs)
  }

  /**
   * Usage as the warden sampled it; zero, without a request, for a job too short to have been sampled. Decided by the
   * time since the job was sent, not by the reported release: a busy server reads both frames in one turn. After an
   * error the warden is always asked: the cause may be an OOM kill.
   */
  async #used(status: TaskEnd['status']): Promise<WallCost> {
    const isShort = performance.now() - this.#sentAt < sampleEveryMs.limited
    if (isShort && status === 'ok') return noUsage
    return await this.#released(status !== 'ok')
  }

  /** End without an `end` frame: by a kill, else by its exit status. */
  async lost(end: HandleEnd): Promise<void> {
    const life = this.#life
    if (life.isEnded) return
    if (this.#hasReportedEnd) {
      if (!this.#isStopped && isByLimit(end)) this.#endWhileDraining = end
      return
    }
    this.#output.ended()
    await this.#output.drained()
    const peakBytes = life.peakOf(end)
    const own = life.cause ? undefined : endOfProgram({ ...end, peakBytes }, life.task?.session)
    if (!own) return life.finish(this.#cutBy(end))
    const used = own.status === 'ok' ? noUsage : await this.#released(true)
    const ended = used.limit ? withOwnExit(this.#atLimit(used, end), own) : own
    life.finish(this.#withFiles(ended, end))
  }

  /** End at a limit that a kernel shows as used up; reported, if that kernel is the guest's. */
  #atLimit(used: WallCost, seen: WallCost | HandleEnd): TaskEnd {
    const end = 'how' in seen ? { ...seen, how: used.limit! } : atLimit(used.limit!, seen)
    return { ...this.#cutBy(end), ...(used.limitTrust && { isReported: true }) }
  }

  /** End of a wall that the warden killed, or the kernel at a limit. */
  #cutBy(end: HandleEnd): TaskEnd {
    return this.#withFiles(this.#life.endOf(end), end)
  }

  #withFiles(ended: TaskEnd, { exit }: HandleEnd): TaskEnd {
    const cpuTime = Math.max(ended.cpuTime, exit?.cpuMs ?? 0, this.#life.samples?.cpuMs ?? 0)
    const { artifacts, display } = this.#files
    return { ...ended, cpuTime, artifacts, display }
  }
}

/** End at a limit, known from the kernel's counts before the wall ends. */
function atLimit(how: 'memory' | LimitHit, { peakBytes, cpuMs }: WallCost): HandleEnd {
  const exit = { exitCode: null, signal: null, cpuMs }
  return { how, peakBytes, detail: `${how} used up`, exit }
}

/** Whether the warden, or the kernel at a limit, ended the wall. */
function isByLimit({ how }: HandleEnd): boolean {
  return how === 'memory' || how === 'processes' || how === 'disk' || how === 'deadline'
}

/** Closes files and system calls by the sentinel or by the guest's kernel; without either they stay open. */
function sentinelCalls(life: GuestLife): ClosableCalls {
  const { wall, warden } = life.parts
  const { calls } = wall.wall
  /** Confirmed by the warden, and never opened again: another order for them could only be late, which ends the wall. */
  const confirmed = new Set<CallClass>()
  return {
    kept: (next) => heldByCalls(life.controls, next, calls),
    async close(next: Controls) {
      const closed = classesToClose(life.controls, next).filter((name) => calls.includes(name))
      if (closed.every((name) => confirmed.has(name))) return undefined
      const allow = callClasses.filter((name) => !closed.includes(name))
      const { answers, trust, killed } = await warden.calls(life.wall, [{ afterMs: 0, allow }])
      for (const name of closed) confirmed.add(name)
      return { answers, ...(trust && { trust }), ...(killed !== undefined && { killed }) }
    },
  }
}

async function destroy(
  life: GuestLife,
  egress: ListenerEgress,
  files: GuestFiles,
  output: ProgramOutput,
): Promise<Freed> {
  const { wall } = life.parts
  egress.close()
  await wall.kill()
  life.detach()
  output.close()
  files.uncount()
  return { freedBytes: life.controls.memory + wall.wall.idleBytes, forced: ['SIGKILL'] }
}

/** Variables of the program ahead of the job's own. */
function variablesOf({ cpu, memory, network }: Controls, given: Task['env'] = {}) {
  return {
    ...threadVariables(cpu),
    ...unattendedVariables(given),
    ...packageVariables,
    ...(!grantsNetwork(network) && withoutNetwork),
    ...memoryVariables(memory),
  }
}

function carried(task: Task, profile: Profile) {
  const { limits, controls, capture } = profile
  return {
    protocol: 1,
    ...carriedTask(task, profile),
    files: task.files.map((file) => (isSentAhead(file) ? { path: file.path, type: 'sent' } : file)),
    args: task.args ?? [],
    ...(task.stdin && { stdin: isLargeInput(task.stdin) ? { sent: true } : task.stdin }),
    capabilities: task.capabilities,
    env: { ...unlessGiven(variablesOf(controls, task.env), task.env ?? {}), ...task.env },
    outputBytesMax: limits.output,
    artifactBytesMax: limits.artifacts,
    memoryBytes: controls.memory,
    processes: controls.processes,
    network: grantsNetwork(controls.network),
    ...(capture && { stays: true }),
    ...(task.session && { session: true }),
  }
}
