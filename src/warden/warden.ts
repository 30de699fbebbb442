import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import os from 'node:os'
import type { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { MayflyError, messageOf } from '../contract/error.ts'
import { composeBubblewrap, seccompFd } from '../jail/bubblewrap.ts'
import { openCompiled } from '../jail/compiled.ts'
import { composeEmbedded, type JailCommand, type JailedProgram } from '../jail/embedded.ts'
import { findJailFacts, type JailFacts, type Layer } from '../jail/facts.ts'
import { openCgroups, type Cgroup } from '../os/cgroup.ts'
import { childrenOf, isAlive, proportionalBytes, residentBytes } from '../os/proc.ts'
import { analyst } from '../threat/launch.ts'
import { isolateWorker } from '../tiers/isolated-vm/launch.ts'
import { leaseFolder, signerFolder } from '../lib/state-folder.ts'
import { createHolder, lookEveryMs, type Held, type Holder } from './hold.ts'
import { named, openLeases, type Leases, type Named } from './lease.ts'
import type { Reply, Request, Wall, WallEnd, WardenFacts } from './protocol.ts'
import type { Signer } from './sign.ts'
import { takeSlot, type Slot } from './slots.ts'

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

/** What is taken for a wall, from the first moment on, and given back when nothing of it is left. */
interface Taken {
  readonly id: string
  readonly slot: Slot | undefined
  readonly child: ChildProcess
  /** The last that it said on stderr: V8's own words when it gave up. */
  readonly complaint: () => string
  cgroup: Cgroup | undefined
  /** Innermost first. */
  processes: readonly Named[]
}

interface Live extends Wall {
  readonly taken: Taken
  /** Resolves when everything that was taken has been given back. */
  readonly gone: Promise<void>
  tenant: string | undefined
  killsAtClaim: number
  how: WallEnd | undefined
  peakBytes: number
}

/** What a start names; the launchers decide the rest. */
export type Wanted = Pick<Extract<Request, { op: 'start' }>, 'program' | 'spares' | 'spareMiB'>

interface Started {
  readonly value: Wall
  readonly socket: Socket
}

const READY_MS_MAX = 15_000
const WALLS_MAX = 128
const STDERR_BYTES_MAX = 4096
/** `R`, the byte a program says when it is warm; one that cannot start says `E` and why. */
const READY = 0x52
/** What V8 and malloc may overshoot a job's limit by before the wall is killed; a look every few milliseconds needs the rest. */
const memoryFactor = 1.25
const memorySlackBytes = { held: 20 * 2 ** 20, watched: 8 * 2 ** 20 } as const
/** Guests give way: on a busy machine whoever holds them to their bounds has to come first. */
const GUEST_NICE = 5
/** What earlier jobs may have left in a wall that takes another. */
const keptBytesMax = 14 * 2 ** 20
/** More than any honest worker says in its life: whoever reads it watches every other wall too. */
const STDERR_FLOOD_BYTES = 2 ** 20
/** Processes and threads of one wall, where there is a cgroup to hold them. */
const TASKS_MAX = 256
/** V8's words before it aborts. */
const OUT_OF_MEMORY = /out of memory|allocation failed|heap limit/i
const KILL_POLL_MS = 2
const KILL_POLLS_MAX = 1000
/** What waits for its child to be over gets this long to see it, and to reap it, before it is killed too. */
const REAP_MS_MAX = 200
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

  /** Answers one request. A wall's socket comes beside the reply and belongs to the asker from then on. */
  async answer(request: Request): Promise<{ readonly reply: Reply; readonly socket?: Socket }> {
    try {
      const { value, socket } = await this.#do(request)
      return { reply: { id: request.id, ok: true, value }, ...(socket && { socket }) }
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

  async #do(request: Request): Promise<{ value: unknown; socket?: Socket }> {
    switch (request.op) {
      case 'start':
        return this.#start(request)
      case 'claim':
        return { value: this.#claim(request) }
      case 'arm':
        return { value: this.#arm(request.wall, request.deadline) }
      case 'release':
        return { value: this.#release(request.wall) }
      case 'kill':
        return { value: await this.#kill(request.wall, 'killed') }
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
    const { command, taken } = withSlot(slot, () => {
      const command = this.#compose(program, slot?.uid)
      return { command, taken: this.#spawn(command, slot) }
    })
    // Listens at once: a program that cannot be started says so before any promise gets its turn.
    const ready = readiness(taken, this.#options.readyMsMax ?? READY_MS_MAX)
    ready.catch(() => undefined)
    const started = Promise.try(() => this.#lease(taken))
      .then(() => ready)
      .then(async () => this.#settle(await this.#options.stateFolder))
      .then(() => this.#live(asked, command, taken, began))
    const settled = started.then(
      () => undefined,
      () => this.#giveBack(taken),
    )
    this.#starting.set(taken, settled)
    try {
      return await started
    } finally {
      await settled
      this.#starting.delete(taken)
    }
  }

  /** Starts the process, and nothing that could fail after it: whoever has it has to give it back. */
  #spawn(command: JailCommand, slot: Slot | undefined): Taken {
    const id = `w${randomBytes(8).toString('hex')}`
    const child = spawn(command.file, command.args, {
      cwd: '/',
      env: {},
      stdio: [
        'ignore',
        'ignore',
        'pipe',
        'pipe',
        'pipe',
        ...(command.filter ? (['pipe'] as const) : []),
      ],
    })
    const processes = child.pid === undefined ? [] : [named(child.pid)]
    const complaint = listenTo(child)
    const taken: Taken = { id, slot, child, complaint, cgroup: undefined, processes }
    if (command.filter) feed(child, command.filter)
    return taken
  }

  #lease({ id, processes }: Taken): void {
    this.#leases?.write(id, processes, this.#cgroups ? id : null)
  }

  #compose(program: JailedProgram, uid: number | undefined): JailCommand {
    const options = {
      uid,
      without: this.#without,
      compiled: this.#compiled.folder(insideUid(this.#facts, uid)),
    }
    const bubblewrap =
      this.#options.prefer === 'bubblewrap'
        ? composeBubblewrap(program, this.#facts, options)
        : undefined
    return bubblewrap ?? composeEmbedded(program, this.#facts, options)
  }

  #live(asked: Wanted, command: JailCommand, taken: Taken, began: number): Started {
    if (this.#closed) throw closing()
    const { id, child } = taken
    const pid = innermost(child.pid!, command.nested)
    taken.processes = [...new Set([pid, child.pid!])].map(named)
    this.#lease(taken)
    const cgroup = (taken.cgroup = this.#cgroups?.create(id))
    cgroup?.add(pid)
    cgroup?.limit({ pids: TASKS_MAX })
    os.setPriority(pid, GUEST_NICE)
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
      idleBytes: residentBytes(pid),
      took: performance.now() - began,
    }
    const { promise: gone, resolve } = Promise.withResolvers<void>()
    const live: Live = {
      ...wall,
      taken,
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
    return { value: wall, socket: child.stdio[3] as Socket }
  }

  #watches(): boolean {
    return !this.#without.includes('memory watch')
  }

  /**
   * Binds the wall to its first tenant and holds it to the job's memory and deadline. What a job may use counts from
   * the wall's idle size, whatever jobs before it left behind; one that kept too much is spent.
   */
  #claim(asked: Extract<Request, { op: 'claim' }>): { readonly spent: boolean } {
    const live = this.#find(asked.wall)
    live.tenant ??= asked.tenant || undefined
    if (asked.tenant && live.tenant !== asked.tenant)
      throw new MayflyError('CONFLICT', `Cannot claim wall "${live.id}": it serves another tenant`)
    const resident = residentBytes(live.pid)
    if (resident > live.idleBytes + keptBytesMax) return { spent: true }
    // A wall shrinks when it has waited for a while: what it gave back then is no room for the next job.
    const base = Math.min(live.idleBytes, resident)
    const { cgroup } = live.taken
    const slack = cgroup ? memorySlackBytes.held : memorySlackBytes.watched
    const residentMax = base + Math.round(asked.memory * memoryFactor) + slack
    cgroup?.limit({ memory: pageUp(cgroup.memoryNow() + residentMax - resident) })
    live.killsAtClaim = cgroup?.memoryKills() ?? 0
    this.#holder.hold({
      wall: live.id,
      pid: live.pid,
      deadlineAt: performance.now() + asked.deadline,
      residentMax: this.#watches() ? residentMax : Infinity,
      peakBytes: resident,
    })
    return { spent: false }
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
    })
    await this.#giveBack(live.taken)
    this.#walls.delete(live.id)
  }

  /** Kills what is left of it, and gives back group, uid and lease when that is nothing. */
  async #giveBack(taken: Taken): Promise<void> {
    kill(taken)
    const isLeft = () => taken.processes.some(({ pid, startTime }) => isAlive(pid, startTime))
    const isBusy = () => isLeft() || taken.cgroup?.remove() === false
    for (let polls = 0; polls < KILL_POLLS_MAX && isBusy(); polls++) await pause(KILL_POLL_MS)
    taken.slot?.release()
    if (!isLeft()) this.#leases?.remove(taken.id)
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

/**
 * The launchers decide everything about a program but its name and the numbers that were asked for. Those that not
 * every Mayfly needs are loaded when they are asked for.
 */
async function programFor(asked: Wanted, without: readonly Layer[]): Promise<JailedProgram> {
  switch (asked.program) {
    case 'analyst':
      return analyst(asked.spares, without)
    case 'isolated-vm':
      return isolateWorker(asked, without)
    case 'wasi':
      return (await import('../tiers/wasi/launch.ts')).wasmWorker(without)
  }
}

function keyOf({ program, spares, spareMiB }: Wanted): string {
  return `${program} ${spares} ${spareMiB}`
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

/** A launcher that ends before it has read its filter breaks the pipe; its end is what is told. */
function feed(child: ChildProcess, filter: Buffer): void {
  const pipe = (child.stdio as unknown as Socket[])[seccompFd]!
  pipe.on('error', () => undefined)
  pipe.end(filter)
}

/** The innermost first: what waits for it then reaps it, and leaves no zombie to whoever is process 1. */
function kill({ processes: [inner, ...outer], child }: Taken): void {
  if (inner && isAlive(inner.pid, inner.startTime)) killQuietly(inner.pid)
  if (outer.length > 0) setTimeout(() => child.kill('SIGKILL'), REAP_MS_MAX).unref()
}

function listenTo(child: ChildProcess): () => string {
  let said = ''
  let bytes = 0
  child.stderr?.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-STDERR_BYTES_MAX)
    bytes += chunk.length
    if (bytes > STDERR_FLOOD_BYTES) child.kill('SIGKILL')
  })
  return () => said
}

/** Resolves at the single byte that says the program is warm; rejects with what it said instead. */
async function readiness({ child, complaint }: Taken, msMax: number): Promise<void> {
  const pipe = child.stdio[4] as Readable | undefined
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const said: Buffer[] = []
  const fail = (why: string) => reject(notReady(why, Buffer.concat(said).toString() + complaint()))
  const timer = setTimeout(() => fail(`it was not ready after ${msMax} ms`), msMax)
  const ended = (code: number | null, signal: string | null) => fail(`it ended (${code ?? signal})`)
  child.on('error', (error) => fail(error.message))
  child.once('exit', ended)
  pipe?.on('data', (chunk: Buffer) => {
    if (said.length === 0 && chunk[0] === READY) resolve()
    else if (said.length < 16) said.push(chunk.subarray(0, STDERR_BYTES_MAX))
  })
  try {
    await promise
  } finally {
    clearTimeout(timer)
    child.off('exit', ended)
    pipe?.destroy()
  }
}

function notReady(why: string, complaint: string): MayflyError {
  const said =
    complaint.split('\n').find((line) => /Error|FATAL/.test(line)) ?? complaint.split('\n')[0]
  return new MayflyError(
    'UNAVAILABLE',
    `Cannot start a wall: ${why}${said ? `: ${said.slice(0, 300)}` : ''}`,
    {
      detail: complaint.slice(0, STDERR_BYTES_MAX),
    },
  )
}

function closing(): MayflyError {
  return new MayflyError('DRAINING', 'Cannot start a wall: the warden is closing')
}

function noJail(platform: string): MayflyError {
  return new MayflyError('NO_JAIL', `Cannot jail a process on ${platform}`, {
    hint: 'Run Mayfly on Linux; on Windows, WSL 2 will do',
  })
}

/** `setpriv` becomes `unshare`, whose child is the program: the one that is held, and killed by pid. */
function innermost(pid: number, nested: boolean): number {
  const child = nested ? childrenOf(pid)[0] : undefined
  return child === undefined ? pid : (childrenOf(child)[0] ?? child)
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // Gone already.
  }
}

/** A bound on a wait that keeps no process alive. */
function unawaited(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms).unref())
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms))
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
