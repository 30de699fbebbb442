import { randomBytes } from 'node:crypto'
import os from 'node:os'
import type { Server, Socket } from 'node:net'
import { MayflyError, messageOf } from '../contract/error.ts'
import { openCompiled } from '../jail/compiled.ts'
import type { JailCommand, JailedProgram } from '../jail/embedded.ts'
import { findJailFacts, type JailFacts, type Layer } from '../jail/facts.ts'
import { leaseFolder, signerFolder } from '../lib/state-folder.ts'
import { openCgroups } from '../os/cgroup.ts'
import { proportionalBytes, residentBytes } from '../os/proc.ts'
import { bind } from './bounds.ts'
import { exitOf } from './exit.ts'
import { createHolder, lookEveryMs, type Held, type Holder } from './hold.ts'
import { named, openLeases, type Leases } from './lease.ts'
import { dropListener, openListener, takeListener } from './listener.ts'
import { composeWay, keyOf, programFor, type Wanted } from './program.ts'
import type {
  Claimed,
  HeldBy,
  Reply,
  Request,
  StreamName,
  Wall,
  WallEnd,
  WardenFacts,
} from './protocol.ts'
import { chainOf, readiness } from './ready.ts'
import { makeScratch } from './scratch.ts'
import type { Signer } from './sign.ts'
import { takeSlot, type Slot } from './slots.ts'
import { giveBack, handOn, kill, processesOfWall, take, type Taken } from './taken.ts'
import { bytesOf, tasksOf } from './tree.ts'
import { watchTree } from './watch.ts'

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
  /** Milliseconds a wall has to become ready; 15,000 unless given. */
  readonly readyMsMax?: number
}

interface Live extends Wall {
  readonly taken: Taken
  readonly disk: number
  /** Resolves when everything that was taken has been given back. */
  readonly gone: Promise<void>
  tenant: string | undefined
  killsAtClaim: number
  how: WallEnd | undefined
  peakBytes: number
}

/** What belongs to a wall and goes beside a reply, to whoever asked, for good. */
export interface Beside {
  readonly wall: string
  readonly handle: Socket | Server
  readonly streams?: Readonly<Record<StreamName, Socket>>
}

interface Started {
  readonly value: Wall
  readonly beside: Beside
}

const READY_MS_MAX = 15_000
const WALLS_MAX = 128
/** What V8 and malloc may overshoot a job's limit by before the wall is killed; a look every few milliseconds needs the rest. */
const memoryFactor = 1.25
const memorySlackBytes = { held: 20 * 2 ** 20, watched: 8 * 2 ** 20 } as const
/** Guests give way: on a busy machine whoever holds them to their bounds has to come first. */
const GUEST_NICE = 5
/** What earlier jobs may have left in a wall that takes another. */
const keptBytesMax = 14 * 2 ** 20
/** Processes and threads of one wall, where there is a cgroup to hold them. */
const TASKS_MAX = 256
/** A worker is held to no processor time of its own; more groups would only slow its start. */
const WORKER_CONTROLLERS = ['memory', 'pids'] as const
const noBound: HeldBy = { memory: 'watch', processes: 'none', cpu: 'none', io: 'none' }
/** V8's words before it aborts. */
const OUT_OF_MEMORY = /out of memory|allocation failed|heap limit/i
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
  readonly #holder: Holder
  readonly #push: (reply: Reply) => void
  readonly #starting = new Map<Taken, Promise<unknown>>()
  #signer: Signer | undefined
  #closed = false
  readonly #ahead: { readonly key: string; readonly started: Promise<Started> }[] = []
  /** How many walls of dead owners were found and ended at the start. */
  swept = 0

  constructor(options: WardenOptions, push: (reply: Reply) => void) {
    this.#options = options
    this.#without = options.without ?? []
    this.#push = push
    this.#facts = findJailFacts(options.hide)
    this.#cgroups =
      this.#without.includes('memory cgroup') || options.hide?.includes('cgroup')
        ? undefined
        : openCgroups()
    const everyMs = this.#cgroups ? lookEveryMs.beside : lookEveryMs.alone
    this.#holder = createHolder((held, how) => this.#end(held.wall, how, held), everyMs)
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
      case 'kill':
        return { value: await this.#kill(request.wall, 'killed') }
      case 'freeze':
        return { value: await this.#freeze(request.wall) }
      case 'thaw':
        return { value: await this.#thaw(request.wall) }
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

  async #begin(asked: Wanted): Promise<Started> {
    const began = performance.now()
    if (this.#facts.platform !== 'linux') throw noJail(this.#facts.platform)
    const program = await programFor(asked, this.#without)
    if (this.#closed) throw closing()
    if (this.#walls.size + this.#starting.size >= WALLS_MAX) {
      throw new MayflyError('OVERLOADED', `Cannot start a wall: ${WALLS_MAX} are alive`)
    }
    const slot = this.#facts.root ? freeSlot() : undefined
    const { command, taken } = withSlot(slot, () => this.#take(asked, program, slot))
    // Listens at once: a program that cannot be started says so before any promise gets its turn.
    const ready = readiness(taken, this.#options.readyMsMax ?? READY_MS_MAX)
    ready.catch(() => undefined)
    const started = Promise.try(() => this.#lease(taken))
      .then(() => ready)
      .then(async () => this.#settle(await this.#options.stateFolder))
      .then(() => this.#live(asked, command, taken, began))
    const settled = started.then(
      () => undefined,
      () => giveBack(taken, this.#leases),
    )
    this.#starting.set(taken, settled)
    try {
      return await started
    } finally {
      await settled
      this.#starting.delete(taken)
    }
  }

  #take(asked: Wanted, program: JailedProgram, slot: Slot | undefined) {
    const id = `w${randomBytes(8).toString('hex')}`
    const isWhole = program.whole !== undefined
    const hasRoot = this.#facts.namespaces && !this.#without.includes('namespaces')
    const scratch = isWhole && !hasRoot ? makeScratch(id, slot?.uid) : undefined
    const command = composeWay(asked.way ?? 'any', program, this.#facts, {
      uid: slot?.uid,
      without: this.#without,
      compiled: this.#compiled.folder(insideUid(this.#facts, slot?.uid)),
      prefer: this.#options.prefer,
      scratch,
    })
    return { command, taken: take(id, command, { slot, isWhole, scratch }) }
  }

  #lease({ id, processes }: Taken): void {
    this.#leases?.write(id, processes, this.#cgroups ? id : null)
  }

  #live(asked: Wanted, command: JailCommand, taken: Taken, began: number): Started {
    if (this.#closed) throw closing()
    const { id, child, isWhole } = taken
    const chain = chainOf(child.pid!, command.nested)
    const pid = chain.at(-2) ?? child.pid!
    taken.processes = (isWhole ? chain : [...new Set([pid, child.pid!])]).map(named)
    this.#lease(taken)
    const isTightened = isWhole || asked.way !== undefined
    const cgroup = (taken.cgroup = this.#cgroups?.create(
      id,
      isTightened ? undefined : WORKER_CONTROLLERS,
    ))
    for (const one of taken.processes.slice(0, Math.max(1, chain.length - 1))) cgroup?.add(one.pid)
    cgroup?.limit({ pids: TASKS_MAX })
    os.setPriority(pid, GUEST_NICE)
    if (isWhole) taken.listenerFd = takeListener(pid, command.layers)
    if (isTightened) taken.idleTasks = tasksOf(taken.processes[0]!.pid)
    const layers = [
      ...command.layers,
      ...(cgroup ? ['memory cgroup'] : []),
      ...(this.#watches() ? ['memory watch'] : []),
    ]
    const missing = [
      ...command.missing,
      ...(cgroup ? [] : ['memory cgroup: memory is held by a watch every 2 ms alone']),
    ]
    const wall: Wall = {
      id,
      program: asked.program,
      pid,
      way: command.way,
      layers,
      missing,
      idleBytes: bytesNow(taken, pid),
      took: performance.now() - began,
    }
    const { promise: gone, resolve } = Promise.withResolvers<void>()
    const live: Live = {
      ...wall,
      taken,
      disk: asked.disk ?? 0,
      gone,
      tenant: undefined,
      killsAtClaim: 0,
      how: undefined,
      peakBytes: 0,
    }
    this.#walls.set(id, live)
    const over = () => void this.#gone(live).finally(resolve)
    if (child.exitCode !== null || child.signalCode !== null) over()
    else child.once('exit', over)
    const { socket, streams } = handOn(taken)
    return { value: wall, beside: { wall: id, handle: socket, ...(streams && { streams }) } }
  }

  #watches(): boolean {
    return !this.#without.includes('memory watch')
  }

  /**
   * Binds the wall to its first tenant and holds it to the job's memory and deadline. What a job may use counts from
   * the wall's idle size, whatever jobs before it left behind; one that kept too much is spent.
   */
  #claim(asked: Extract<Request, { op: 'claim' }>): {
    readonly value: Claimed
    readonly beside?: Beside
  } {
    const live = this.#find(asked.wall)
    const { taken } = live
    live.tenant ??= asked.tenant || undefined
    if (asked.tenant && live.tenant !== asked.tenant)
      throw new MayflyError('CONFLICT', `Cannot claim wall "${live.id}": it serves another tenant`)
    // One for whole programs is used once: it still is what it was when it was ready.
    const resident = taken.isWhole ? live.idleBytes : residentBytes(live.pid)
    if (resident > live.idleBytes + keptBytesMax)
      return { value: { spent: true, enforced: noBound } }
    // A wall shrinks when it has waited for a while: what it gave back then is no room for the next job.
    const base = Math.min(live.idleBytes, resident)
    const { cgroup } = taken
    const slack = cgroup ? memorySlackBytes.held : memorySlackBytes.watched
    const residentMax = base + Math.round(asked.memory * memoryFactor) + slack
    // What lies in its scratch is memory too, and was granted by another name.
    const room = residentMax - resident + live.disk
    cgroup?.limit({ memory: pageUp(cgroup.memoryNow() + room) })
    const enforced = bind(taken, live.layers, asked)
    live.killsAtClaim = cgroup?.memoryKills() ?? 0
    const heldMax = this.#watches() ? residentMax : Infinity
    const cores = enforced.cpu === 'watch' ? asked.cpu : undefined
    const isTree = taken.isWhole || cores !== undefined
    this.#holder.hold({
      wall: live.id,
      pid: live.pid,
      deadlineAt: performance.now() + asked.deadline,
      residentMax: heldMax,
      peakBytes: resident,
      ...(isTree && {
        watch: watchTree(taken, { residentMax: heldMax, cores, kills: live.killsAtClaim }),
      }),
    })
    const value: Claimed = { spent: false, enforced }
    const listener = asked.egress ? openListener(taken) : dropListener(taken)
    return listener ? { value, beside: { wall: live.id, handle: listener } } : { value }
  }

  /** The next job of the same tenant in a wall that is still held to the same memory. */
  #arm(wall: string, deadline: number): null {
    if (this.#holder.arm(wall, performance.now() + deadline)) return null
    // It was armed because it was believed to be held: a wall that nobody holds does not run.
    void this.#kill(wall, 'killed')
    throw new MayflyError('CONFLICT', `Cannot arm wall "${wall}": it is not held`)
  }

  #release(wall: string): { readonly peakBytes: number } {
    return { peakBytes: this.#holder.rest(wall)?.peakBytes ?? 0 }
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
    kill(live.taken)
  }

  /** After the last process: the server is told, and what was taken is given back. */
  async #gone(live: Live): Promise<void> {
    const { cgroup, child, complaint } = live.taken
    const held = this.#holder.forget(live.id)
    // The socket of a process that the kernel ended closes first, so that it may look as if the server had ended it.
    const isMemory =
      (cgroup?.memoryKills() ?? 0) > live.killsAtClaim || OUT_OF_MEMORY.test(complaint())
    if (isMemory && live.how !== 'deadline') live.how = 'memory'
    live.how ??= 'exit'
    this.#push({
      ended: live.id,
      how: live.how,
      peakBytes: Math.max(held?.peakBytes ?? 0, live.peakBytes),
      detail: `exit ${child.exitCode ?? child.signalCode ?? 'unknown'}`,
      exit: exitOf(live.taken),
    })
    dropListener(live.taken)
    await giveBack(live.taken, this.#leases)
    this.#walls.delete(live.id)
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
    }
    return this.#leases
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

/** Of a wall for whole programs, all that it is made of. */
function bytesNow(taken: Taken, pid: number): number {
  return taken.isWhole ? bytesOf(processesOfWall(taken)) : residentBytes(pid)
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

function closing(): MayflyError {
  return new MayflyError('DRAINING', 'Cannot start a wall: the warden is closing')
}

function noJail(platform: string): MayflyError {
  return new MayflyError('NO_JAIL', `Cannot jail a process on ${platform}`, {
    hint: 'Run Mayfly on Linux; on Windows, WSL 2 will do',
  })
}

/** A bound on a wait that keeps no process alive. */
function unawaited(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms).unref())
}

function pageUp(bytes: number): number {
  return Math.ceil(bytes / 4096) * 4096
}

function failure(id: number, error: unknown): Reply {
  if (error instanceof MayflyError) {
    const { code, message, hint } = error
    return { id, ok: false, code, message, ...(hint && { hint }) }
  }
  return { id, ok: false, code: 'INTERNAL', message: messageOf(error) }
}
