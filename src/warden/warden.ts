import { randomBytes } from 'node:crypto'
import os from 'node:os'
import { callClasses } from '../contract/calls.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import { openCompiled } from '../jail/compiled.ts'
import type { JailCommand, JailedProgram } from '../jail/embedded.ts'
import { openSentinel, type FoundSentinel } from '../jail/sentinel.ts'
import { findJailFacts, type JailFacts, type Layer } from '../jail/facts.ts'
import { leaseFolder, signerFolder } from '../lib/state-folder.ts'
import { openCgroups } from '../os/cgroup.ts'
import { closeOnExecFrom } from '../os/libc.js'
import { proportionalBytes } from '../os/proc.ts'
import { isOutOfDescriptors, keepDescriptor } from '../os/read.ts'
import { claim } from './claim.ts'
import { closeCalls, closeProcesses, told, whyRefused } from './calls.ts'
import { endOf } from './end.ts'
import { createHolder, lookEveryMs, type Held, type Holder } from './hold.ts'
import { findLayers } from './layers.ts'
import { openLeases, type Leases } from './lease.ts'
import { nameProcesses, settleIn, type Beside, type Live } from './live.ts'
import { endOrphans } from './orphans.ts'
import { composeWay, keyOf, programFor, type Wanted } from './program.ts'
import { createPressure, type PressureOptions } from './pressure.ts'
import type { ProgramZones } from './program-zones.ts'
import type {
  CallPhase,
  ClosedCallsState,
  BoundMechanisms,
  Reply,
  Request,
  Wall,
  WallEnd,
  WallLoads,
  WallUsage,
  WallCost,
  WardenFacts,
  ZoneReport,
} from '../contract/warden.ts'
import { readiness } from './ready.ts'
import { scratchOf } from './scratch.ts'
import { SentinelSource } from './sentinel-source.ts'
import type { Signer } from './sign.ts'
import { takeSlot, type Slot } from './slots.ts'
import { spentMs } from './spent.ts'
import { giveBack, handOn, kill, outOfDescriptors, take, type Taken } from './taken.ts'

/**
 * The small process that starts, holds and ends every wall, and signs the record's checkpoints. It never sees a
 * byte of what runs: the socket to a wall is handed to the server, and forgotten here. It composes every command
 * itself; what it is asked for are names and numbers.
 */
export interface WardenOptions {
  /** A promise where the first walls are started before it is known; none is handed out until then. */
  readonly stateFolder: string | Promise<string>
  /** Which jail is used where both are there. */
  readonly prefer?: 'embedded' | 'bubblewrap'
  /** For tests: programs and layers of this machine to treat as missing. */
  readonly hide?: readonly string[]
  /** For tests: one layer left out, to show that the others hold. */
  readonly without?: readonly Layer[]
  /** Whole programs get a sentinel where one can be made; where it is not given, the environment says. */
  readonly sentinel?: boolean
  /** For tests: where it is kept, once it is made. */
  readonly sentinelFolder?: string
  /** Milliseconds a wall has to become ready; 15,000 unless given. */
  readonly readyMsMax?: number
  /** For tests: bytes that walls may hold together, in place of this machine's. */
  readonly memoryBytes?: number
}

interface Ready {
  readonly asked: Wanted
  readonly command: JailCommand
  readonly taken: Taken
  /** Of the program. */
  readonly pid: number
  /** On the monotonic clock. */
  readonly began: number
}

interface Started {
  readonly value: Wall
  readonly beside: Beside
}

const READY_MS_MAX = 15_000
/** Above the standard streams. */
const FIRST_INHERITED = 3
/** What its first half says when it cannot load a filter. */
const SAID_BY_SENTINEL = /Esentinel: /
/** More than a pool asks for: jobs, spares and analysts. Root has a uid for each. */
const WALLS_MAX = 880
const LOADS_COST_FACTOR = 10
const PAST_MS = 5_000
/** A worker is no more among those that come first than programs are; more groups would only slow its start. */
const WORKER_CONTROLLERS = ['memory', 'pids', 'cpu'] as const
/** What waits for a wall outside sees its end this soon after its sentinel did. */
const OVER_MS_MAX = 1_000
/** A wall that is being made is in its group within seconds. */
const FORGOTTEN_AFTER_MS = 3_600_000
/** No more than some milliseconds of it at a time. */
const FORGOTTEN_AT_ONCE = 64
/** Nobody's first job waits for it. */
const FORGOTTEN_AFTER_START_MS = 1_000
/** A process that does not die of SIGKILL is stuck in the kernel; its lease stays for the next sweep. */
const GONE_MS_MAX = 5_000

export class Warden {
  readonly #options: WardenOptions
  readonly #without: readonly Layer[]
  readonly #facts: JailFacts
  readonly #cgroups
  #leases: Leases | undefined
  readonly #compiled = openCompiled()
  readonly #walls = new Map<string, Live>()
  /** What walls used that ended a moment ago. */
  readonly #past = new Map<string, WallCost>()
  readonly #holder: Holder
  readonly #push: (reply: Reply) => void
  readonly #starting = new Map<Taken, Promise<unknown>>()
  #signer: Signer | undefined
  #loads: WallLoads | undefined
  #loadsAgainAt = 0
  /** Made when the first whole program is started. */
  readonly #sentinels: SentinelSource
  #closed = false
  readonly #letGo: () => void
  readonly #ahead: { readonly key: string; readonly started: Promise<Started> }[] = []
  /** How many walls of dead owners were found and ended at the start. */
  swept = 0

  constructor(options: WardenOptions, push: (reply: Reply) => void) {
    this.#options = options
    this.#without = options.without ?? []
    this.#push = push
    const { hide = [], sentinelFolder: folder } = options
    this.#sentinels = new SentinelSource({
      make: () => openSentinel({ hide, ...(folder !== undefined && { folder }) }),
      tell: (sentinel) => push({ sentinel }),
    })
    // What a shell left open before us would be open in every wall: not every launcher closes what it inherits.
    if (process.platform === 'linux') closeOnExecFrom(FIRST_INHERITED)
    this.#letGo = keepDescriptor()
    this.#facts = findJailFacts(options.hide)
    this.#cgroups =
      this.#without.includes('memory cgroup') || options.hide?.includes('cgroup')
        ? undefined
        : openCgroups()
    const everyMs = this.#cgroups ? lookEveryMs.beside : lookEveryMs.alone
    this.#holder = createHolder((held, how) => this.#end(held.wall, how, held), everyMs, {
      pressure: createPressure(memoryHere(options.memoryBytes)),
    })
    if (typeof options.stateFolder === 'string') this.#settle(options.stateFolder)
  }

  /** Answers one request. A wall's sockets come beside the reply and belong to the asker from then on. */
  async answer(request: Request): Promise<{ readonly reply: Reply; readonly beside?: Beside }> {
    try {
      const { value, beside } = await this.#do(request)
      return { reply: { id: request.id, ok: true, value }, ...(beside && { beside }) }
    } catch (error) {
      return { reply: failure(request.id, error) }
    }
  }

  /** Starts a wall before it is asked for: the first request for the same takes it. */
  startAhead(asked: Wanted): void {
    const started = this.#begin(asked)
    started.catch(() => undefined)
    this.#ahead.push({ key: keyOf(asked), started })
  }

  /** Ends every wall and waits until they are gone. */
  async close(): Promise<void> {
    this.#closed = true
    for (const taken of this.#starting.keys()) kill(taken)
    await Promise.all(this.#starting.values())
    await Promise.all([...this.#walls.keys()].map((wall) => this.#kill(wall, 'killed')))
    this.#holder.close()
    this.#signer?.close()
    await this.#sentinels.close()
    this.#letGo()
  }

  async #do(request: Request): Promise<{ value: unknown; beside?: Beside | undefined }> {
    switch (request.op) {
      case 'start':
        return this.#start(request)
      case 'claim':
        return this.#claim(request)
      case 'arm':
        return { value: this.#arm(request.wall, request.deadline) }
      case 'release':
        return { value: this.#release(request.wall) }
      case 'usage':
        return { value: await this.#usage(request.wall) }
      case 'callers':
        return { value: await this.#callers(request) }
      case 'kill':
        return { value: await this.#killAsked(request) }
      case 'tighten':
        return { value: await this.#tighten(request) }
      case 'calls':
        return { value: await this.#closeCalls(request.wall, request.phases) }
      case 'freeze':
        return { value: await this.#freeze(request.wall) }
      case 'thaw':
        return { value: await this.#thaw(request.wall) }
      case 'memory':
        return (await import('./capture.ts')).openMemory(this.#find(request.wall))
      case 'capture':
        return { value: await this.#capture(request.wall, request.bytes) }
      case 'loads':
        return { value: this.#loadsNow() }
      case 'facts':
        return { value: await this.#tell() }
      case 'sign':
        return { value: (await this.#sign()).sign(request.digests, request, Date.now()) }
    }
  }

  #start(asked: Wanted): Promise<Started> {
    const index = this.#ahead.findIndex(({ key }) => key === keyOf(asked))
    return index < 0 ? this.#begin(asked) : this.#ahead.splice(index, 1)[0]!.started
  }

  async #begin(wanted: Wanted): Promise<Started> {
    const asked = asksAll() ? { ...wanted, calls: callClasses } : wanted
    const began = performance.now()
    if (this.#facts.platform !== 'linux') throw noJail(this.#facts.platform)
    const program = await programFor(asked, this.#without)
    const sentinel = await this.#sentinelFor(program)
    if (this.#closed) throw closing()
    if (this.#walls.size + this.#starting.size >= WALLS_MAX) {
      throw new MayflyError('OVERLOADED', `Cannot start a wall: ${WALLS_MAX} are alive`)
    }
    const slot = this.#facts.root ? freeSlot() : undefined
    const { command, taken } = withSlot(slot, () => this.#take(asked, program, slot, sentinel))
    // Listens at once: a program that cannot be started says so before any promise gets its turn.
    const ready = taken.broken
      ? Promise.reject(taken.broken)
      : readiness(taken, this.#options.readyMsMax ?? READY_MS_MAX)
    ready.catch(() => undefined)
    const started = Promise.try(() => this.#lease(taken))
      .then(() => ready)
      .then(async () => this.#settle(await this.#options.stateFolder))
      .then(() => this.#enter(command, taken))
      .then((pid) => this.#live({ asked, command, taken, pid, began }))
    const settled = started.then(
      () => undefined,
      () => giveBack(taken, this.#leases),
    )
    this.#starting.set(taken, settled)
    const used = sentinel && 'fd' in sentinel ? sentinel : undefined
    try {
      const wall = await started
      if (used && taken.sentinel) this.#sentinels.confirm(used)
      return wall
    } catch (error) {
      if (!used || !isRefused(taken, error)) throw error
      this.#sentinels.refuse(used, whyRefused(error))
    } finally {
      await settled
      this.#starting.delete(taken)
    }
    return this.#begin(wanted)
  }

  /** Undefined for a worker, which has no calls to answer. */
  async #sentinelFor({ whole }: JailedProgram): Promise<FoundSentinel | undefined> {
    if (!whole) return undefined
    if (!(this.#options.sentinel ?? !isLeftOut())) return { missing: 'it is switched off' }
    return await this.#sentinels.take()
  }

  #take(
    asked: Wanted,
    program: JailedProgram,
    slot: Slot | undefined,
    sentinel: FoundSentinel | undefined,
  ) {
    const id = `w${randomBytes(8).toString('hex')}`
    const isWhole = program.whole !== undefined
    const hasRoot = this.#facts.namespaces && !this.#without.includes('namespaces')
    const scratch = isWhole && !hasRoot ? scratchOf(id) : undefined
    const layers = isWhole && asked.layers ? findLayers(asked.layers) : []
    const command = composeWay(asked.way ?? 'any', program, this.#facts, {
      uid: slot?.uid,
      without: this.#without,
      compiled: this.#compiled.folder(insideUid(this.#facts, slot?.uid)),
      prefer: this.#options.prefer,
      scratch,
      sentinel,
      calls: asked.calls,
      layers,
    })
    const found = sentinel && 'fd' in sentinel && command.asks ? sentinel : undefined
    const isTightened = isWhole || asked.way !== undefined
    const cgroup = this.#cgroups?.create(id, isTightened ? undefined : WORKER_CONTROLLERS)
    if (isWhole && asked.spares > 0) cgroup?.giveWay()
    try {
      return { command, taken: take(id, command, { slot, isWhole, scratch, cgroup }, found) }
    } catch (error) {
      // Nothing came into it, and nobody has its name yet.
      cgroup?.remove()
      throw error
    }
  }

  #lease({ id, processes }: Taken): void {
    this.#leases?.write(id, processes, this.#cgroups ? id : null)
  }

  #enter(command: JailCommand, taken: Taken): number {
    if (this.#closed) throw closing()
    const pid = nameProcesses(taken, command.nested)
    this.#lease(taken)
    return pid
  }

  #live({ asked, command, taken, pid, began }: Ready): Started {
    if (this.#closed) throw closing()
    const { id, child } = taken
    const wall = settleIn(taken, pid, {
      asked,
      command,
      watches: this.#watches(),
      began,
    })
    const { promise: gone, resolve } = Promise.withResolvers<void>()
    const live: Live = {
      ...wall,
      taken,
      disk: asked.disk ?? 0,
      gone,
      tenant: undefined,
      held: undefined,
      killsAtClaim: 0,
      zones: undefined,
      spentBefore: spentMs(taken),
      spentSeen: 0,
      how: undefined,
      peakBytes: 0,
    }
    this.#walls.set(id, live)
    this.#watchSentinel(live)
    const over = () => void this.#gone(live).finally(resolve)
    if (child.exitCode !== null || child.signalCode !== null) over()
    else child.once('exit', over)
    const { socket, streams } = handOn(taken)
    return { value: wall, beside: { wall: id, handle: socket, ...(streams && { streams }) } }
  }

  /** Whoever answers a wall's calls is gone: so is the wall. */
  #watchSentinel(live: Live): void {
    const { id, taken } = live
    const { sentinel } = taken
    if (!sentinel) return
    sentinel.onSeen = (seen) => this.#push({ of: id, seen: told(seen) })
    const end = () => this.#end(id, 'killed', undefined)
    sentinel.onFlipped = (allowed) => void closeProcesses(live, allowed).catch(end)
    // Where it saw the end of the wall, the wall's own exit tells how.
    void sentinel.ended.then((code) =>
      code === 0 ? void setTimeout(end, OVER_MS_MAX).unref() : end(),
    )
  }

  async #claim(asked: Extract<Request, { op: 'claim' }>) {
    // First, for a wall may end meanwhile, and what is claimed must be there.
    const loaded = asked.zones && (await import('./program-zones.ts'))
    const live = this.#find(asked.wall)
    if (loaded) this.#openZones(live, asked, loaded.ProgramZones)
    const claimed = claim(live, asked, this.#held)
    live.taken.sentinel?.watchCalls(true)
    return claimed
  }

  /** From here on what the program executes is in zones of its own. */
  #openZones(
    live: Live,
    { zones: rules = [], cpu }: Extract<Request, { op: 'claim' }>,
    Zones: typeof ProgramZones,
  ): void {
    const { id, pid, taken, calls } = live
    if (live.zones)
      throw new MayflyError('CONFLICT', `Cannot claim wall "${id}": it has zones already`)
    const isAsked = taken.sentinel !== undefined && calls.includes('exec')
    const tell = (zone: ZoneReport) => this.#push({ of: id, zone })
    const zones = new Zones({ taken, pid, rules, cpu, isAsked, tell })
    live.zones = zones
    if (!taken.sentinel) return
    taken.sentinel.onExec = (asked) => zones.admit(asked)
    taken.sentinel.askExecs()
  }

  async #killAsked({ wall, zone }: Extract<Request, { op: 'kill' }>) {
    if (zone === undefined) return await this.#kill(wall, 'killed')
    const began = performance.now()
    await this.#walls.get(wall)?.zones?.end(zone, 'ended')
    return { took: performance.now() - began }
  }

  async #closeCalls(wall: string, phases: readonly CallPhase[]): Promise<ClosedCallsState> {
    try {
      return await closeCalls(this.#find(wall), phases)
    } catch (error) {
      // It may be open still: what cannot be closed ends.
      if (this.#walls.get(wall)?.taken.sentinel) void this.#kill(wall, 'killed')
      throw error
    }
  }

  get #held() {
    return { holder: this.#holder, watches: this.#watches() }
  }

  #watches(): boolean {
    return !this.#without.includes('memory watch')
  }

  /** The next job of the same tenant in a wall that is still held to the same memory. */
  #arm(wall: string, deadline: number): null {
    const live = this.#walls.get(wall)
    if (live && this.#holder.arm(wall, performance.now() + deadline)) {
      // A wall that is used once has its baseline from its claim.
      if (!live.taken.isWhole) live.spentBefore = spentMs(live.taken)
      return null
    }
    // It was armed because it was believed to be held: a wall that nobody holds does not run.
    void this.#kill(wall, 'killed')
    throw new MayflyError('CONFLICT', `Cannot arm wall "${wall}": it is not held`)
  }

  #release(wall: string): WallCost {
    const past = this.#past.get(wall)
    if (past) return past
    const live = this.#walls.get(wall)
    const cpuMs = live ? Math.max(0, spentMs(live.taken) - live.spentBefore) : 0
    return { peakBytes: this.#holder.rest(wall)?.peakBytes ?? 0, cpuMs }
  }

  /** A look at many walls takes time that others need: no more than a tenth of it. */
  #loadsNow(): WallLoads {
    const now = performance.now()
    if (this.#loads && now < this.#loadsAgainAt) return this.#loads
    const walls = [...this.#holder.active].flatMap(({ wall, bytes = 0 }) => {
      const live = this.#walls.get(wall)
      return live ? [{ wall, bytes, cpuMs: spentMs(live.taken) }] : []
    })
    this.#loads = { atMs: now, walls }
    this.#loadsAgainAt = performance.now() + (performance.now() - now) * LOADS_COST_FACTOR
    return this.#loads
  }

  async #usage(wall: string): Promise<WallUsage> {
    // Node takes a third of a millisecond to import what it has imported before.
    usageParts ??= Promise.all([import('./usage.ts'), import('./mute.ts')])
    const [{ usageOf }, { isMute }] = await usageParts
    const live = this.#find(wall)
    // Nobody waits for one that can say nothing any more.
    if (isMute(live.taken, live.pid)) void this.#kill(wall, 'killed')
    return usageOf(live)
  }

  async #callers({ wall, ...ends }: Extract<Request, { op: 'callers' }>) {
    const { callersOf } = await import('./callers.ts')
    return await callersOf(this.#find(wall), ends)
  }

  async #tighten(asked: Extract<Request, { op: 'tighten' }>): Promise<BoundMechanisms> {
    const { tighten } = await import('./tighten.ts')
    const { zone, ...bounds } = asked
    const live = this.#find(asked.wall)
    if (zone === undefined) return tighten(live, asked, this.#held)
    const held = zonesOf(live, zone).tighten(zone, bounds)
    // What it has no bound of its own for is held with the whole.
    return { ...held, memory: held.memory === 'cgroup' ? 'cgroup' : 'watch', io: 'none' }
  }

  async #freeze(wall: string): Promise<{ readonly took: number }> {
    const { freeze } = await import('./freeze.ts')
    return { took: await freeze(this.#find(wall).taken, this.#cgroups?.version) }
  }

  async #thaw(wall: string): Promise<null> {
    const { thaw } = await import('./freeze.ts')
    thaw(this.#find(wall).taken)
    return null
  }

  async #capture(wall: string, bytes: number) {
    const { capture } = await import('./capture.ts')
    return capture(this.#find(wall), bytes)
  }

  /** Resolves when nothing of it is left. Idempotent: a wall that is gone was killed. */
  async #kill(wall: string, how: WallEnd): Promise<{ readonly took: number }> {
    const began = performance.now()
    const live = this.#walls.get(wall)
    if (!live) return { took: 0 }
    this.#end(wall, how, this.#holder.forget(wall))
    await Promise.race([live.gone, unawaited(GONE_MS_MAX)])
    return { took: performance.now() - began }
  }

  #end(wall: string, how: WallEnd, held: Held | undefined): void {
    const live = this.#walls.get(wall)
    if (!live) return
    live.how ??= how
    live.peakBytes = Math.max(live.peakBytes, held?.peakBytes ?? 0)
    // What is gone can't be asked.
    live.spentSeen = Math.max(live.spentSeen, spentMs(live.taken))
    kill(live.taken)
  }

  /** After the last process: the server is told, and what was taken is given back. */
  async #gone(live: Live): Promise<void> {
    // Whether it ended by itself or was ended, its sentinel knows; and nothing is told of it after its end.
    const { sentinel } = live.taken
    if (sentinel) await Promise.race([sentinel.silent, unawaited(OVER_MS_MAX)])
    const end = endOf(live, this.#holder.forget(live.id))
    this.#remember(live.id, { peakBytes: end.peakBytes, cpuMs: end.exit.cpuMs ?? 0 })
    this.#push(end)
    try {
      await giveBack(live.taken, this.#leases)
    } catch {
      // Its lease stays, and with it what the next sweep has to end.
    }
    this.#walls.delete(live.id)
  }

  /** Who read its last words asks what it used, and may do so when nothing of it is left. */
  #remember(wall: string, used: WallCost): void {
    this.#past.set(wall, used)
    setTimeout(() => this.#past.delete(wall), PAST_MS).unref()
  }

  #find(wall: string): Live {
    const live = this.#walls.get(wall)
    if (!live || live.how) throw new MayflyError('NOT_FOUND', `Cannot find wall "${wall}"`)
    return live
  }

  async #sign(): Promise<Signer> {
    if (this.#signer) return this.#signer
    const { openSigner } = await import('./sign.ts')
    this.#signer ??= openSigner(signerFolder(await this.#options.stateFolder))
    return this.#signer
  }

  /** From here on it is known where leases and key are; what dead owners left there is ended first. */
  #settle(folder: string): Leases {
    if (!this.#leases) {
      this.#leases = openLeases(leaseFolder(folder))
      this.swept = this.#leases.sweep()
      setTimeout(() => this.#removeForgotten(), FORGOTTEN_AFTER_START_MS).unref()
    }
    return this.#leases
  }

  /** What no lease names: groups whose state folder went with theirs, children of launchers that were killed. */
  #removeForgotten(): void {
    try {
      endOrphans()
      const forgotten = this.#cgroups?.forgotten(FORGOTTEN_AFTER_MS) ?? []
      for (const name of forgotten.slice(0, FORGOTTEN_AT_ONCE)) this.#cgroups?.remove(name)
    } catch {
      // Whoever starts next finds it too.
    }
  }

  async #tell(): Promise<WardenFacts> {
    const walls = [...this.#walls.values()]
    return {
      pid: process.pid,
      root: this.#facts.root,
      walls: walls.map(({ id, program, pid }) => ({
        id,
        program,
        pid,
        proportionalBytes: proportionalBytes(pid),
      })),
      proportionalBytes: proportionalBytes(process.pid),
      publicKey: (await this.#sign()).publicKey,
      machine: {
        namespaces: this.#facts.namespaces,
        landlock: this.#facts.landlock,
        cgroups: this.#cgroups?.version ?? null,
        bubblewrap: this.#facts.bubblewrap !== undefined,
      },
    }
  }
}

/** The uid a program sees as its own: root of its user namespace where it has one by the embedded way. */
function insideUid(facts: JailFacts, uid: number | undefined): number {
  if (uid !== undefined) return uid
  return facts.namespaces && !facts.root ? 0 : (process.getuid?.() ?? 0)
}

/** As root a wall never goes without a uid of its own: it would have root's. */
function freeSlot(): Slot {
  const slot = takeSlot()
  if (slot) return slot
  throw new MayflyError('OVERLOADED', 'Cannot start a wall: every uid for walls is taken', {
    hint: 'Other Mayflies on this machine hold them; end one',
  })
}

function withSlot<T>(slot: Slot | undefined, make: () => T): T {
  try {
    return make()
  } catch (error) {
    slot?.release()
    throw error
  }
}

let usageParts: Promise<[typeof import('./usage.ts'), typeof import('./mute.ts')]> | undefined

/** What a container may use counts where that is less than the machine has. */
function memoryHere(given: number | undefined): PressureOptions {
  const bound = given ?? process.constrainedMemory()
  const all = os.totalmem()
  const isBound = bound > 0 && bound < all
  return { memory: isBound ? bound : all, isBound }
}

function closing(): MayflyError {
  return new MayflyError('DRAINING', 'Cannot start a wall: the warden is closing')
}

function noJail(platform: string): MayflyError {
  return new MayflyError('NO_JAIL', `Cannot jail a process on ${platform}`, {
    hint: 'Run Mayfly on Linux; on Windows, WSL 2 will do',
  })
}

function zonesOf({ id, zones }: Live, zone: string): ProgramZones {
  if (zones) return zones
  throw new MayflyError('NOT_FOUND', `Cannot find zone "${zone}" of wall "${id}": it has none`)
}

/** A bound on a wait that keeps no process alive. */
function unawaited(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms).unref())
}

function failure(id: number, thrown: unknown): Reply {
  const error = isOutOfDescriptors(thrown) ? outOfDescriptors() : thrown
  if (error instanceof MayflyError) {
    const { code, message, hint } = error
    return { id, ok: false, code, message, ...(hint && { hint }) }
  }
  return { id, ok: false, code: 'INTERNAL', message: messageOf(error) }
}

/** It may not look into walls here, or this kernel has not what it needs: then they are started without it. */
function isRefused({ sentinel }: Taken, error: unknown): boolean {
  if (!sentinel) return false
  return sentinel.refused !== undefined || SAID_BY_SENTINEL.test(messageOf(error))
}

/** `off` leaves it out; `all` has it asked about every class in every wall, for whoever closes calls by hand. */
function asksAll(): boolean {
  return process.env['MAYFLY_SENTINEL'] === 'all'
}

function isLeftOut(): boolean {
  return process.env['MAYFLY_SENTINEL'] === 'off'
}
