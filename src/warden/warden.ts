import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import path from 'node:path'
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
import { createHolder, type Held } from './hold.ts'
import { openLeases, type Leases } from './lease.ts'
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
}

interface Live extends Wall {
  readonly child: ChildProcess
  readonly slot: Slot | undefined
  readonly cgroup: Cgroup | undefined
  tenant: string | undefined
  killsAtClaim: number
  /** The last that it said on stderr: V8's own words when it gave up. */
  readonly complaint: () => string
  how: WallEnd | undefined
  peakBytes: number
}

/** What a start names; the launchers decide the rest. */
export type Wanted = Pick<Extract<Request, { op: 'start' }>, 'program' | 'spares' | 'spareMiB'>

/** A program that is warm, with what belongs to it. */
interface Begun {
  readonly child: ChildProcess
  readonly slot: Slot | undefined
  readonly complaint: () => string
  readonly began: number
}

interface Started {
  readonly value: Wall
  readonly socket: Socket
}

const READY_MS_MAX = 15_000
const WALLS_MAX = 128
const STDERR_BYTES_MAX = 4096
/** What V8 and malloc may overshoot a job's limit by before the wall is killed; a look every 10 ms needs the rest. */
const memoryFactor = 1.25
const memorySlackBytes = 20 * 2 ** 20
/** What earlier jobs may have left in a wall that takes another. */
const keptBytesMax = 14 * 2 ** 20
/** V8's words before it aborts. */
const OUT_OF_MEMORY = /out of memory|allocation failed|heap limit/i
const KILL_POLL_MS = 2
const KILL_POLLS_MAX = 1000

export class Warden {
  readonly #options: WardenOptions
  readonly #without: readonly Layer[]
  readonly #facts: JailFacts
  readonly #cgroups
  #leases: Leases | undefined
  readonly #compiled = openCompiled()
  readonly #walls = new Map<string, Live>()
  readonly #holder = createHolder((held, how) => this.#end(held.wall, how, held))
  readonly #push: (reply: Reply) => void
  readonly #starting = new Set<ChildProcess>()
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
    this.#holder.close()
    for (const child of this.#starting) child.kill('SIGKILL')
    await Promise.all([...this.#walls.keys()].map((wall) => this.#kill(wall, 'killed')))
    this.#signer?.close()
  }

  async #do(request: Request): Promise<{ value: unknown; socket?: Socket }> {
    switch (request.op) {
      case 'start':
        return this.#start(request)
      case 'claim':
        return { value: this.#claim(request) }
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
    if (this.#closed)
      throw new MayflyError('DRAINING', 'Cannot start a wall: the warden is closing')
    if (this.#walls.size + this.#starting.size >= WALLS_MAX) {
      throw new MayflyError('OVERLOADED', `Cannot start a wall: ${WALLS_MAX} are alive`)
    }
    const slot = this.#facts.root ? takeSlot() : undefined
    try {
      const command = this.#compose(asked, slot?.uid)
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
      if (command.filter) (child.stdio as unknown as Socket[])[seccompFd]!.end(command.filter)
      this.#starting.add(child)
      try {
        const complaint = await readiness(child)
        this.#settle(await this.#options.stateFolder)
        return this.#live(asked, command, { child, slot, complaint, began })
      } catch (error) {
        child.kill('SIGKILL')
        throw error
      } finally {
        this.#starting.delete(child)
      }
    } catch (error) {
      slot?.release()
      throw error
    }
  }

  #compose(asked: Wanted, uid: number | undefined): JailCommand {
    if (this.#facts.platform !== 'linux') throw noJail(this.#facts.platform)
    const program: JailedProgram =
      asked.program === 'analyst'
        ? analyst(asked.spares, this.#without)
        : isolateWorker(asked, this.#without)
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

  #live(asked: Wanted, command: JailCommand, { child, slot, complaint, began }: Begun): Started {
    const id = `w${randomBytes(8).toString('hex')}`
    const pid = innermost(child.pid!, command.nested)
    const cgroup = this.#group(id, pid)
    const layers = [
      ...command.layers,
      ...(cgroup ? ['memory cgroup'] : []),
      ...(this.#watches() ? ['memory watch'] : []),
    ]
    const missing = [
      ...command.missing,
      ...(cgroup ? [] : ['memory cgroup: memory is held by a watch every 10 ms alone']),
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
    const live: Live = {
      ...wall,
      child,
      slot,
      complaint,
      cgroup,
      tenant: undefined,
      killsAtClaim: 0,
      how: undefined,
      peakBytes: 0,
    }
    this.#walls.set(id, live)
    this.#leases?.write(id, [child.pid!, pid], cgroup?.name ?? null)
    child.once('exit', () => void this.#gone(live))
    if (child.exitCode !== null || child.signalCode !== null) void this.#gone(live)
    return { value: wall, socket: child.stdio[3] as Socket }
  }

  #group(id: string, pid: number): Cgroup | undefined {
    const cgroup = this.#cgroups?.create(id)
    cgroup?.add(pid)
    return cgroup
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
    const residentMax = live.idleBytes + Math.round(asked.memory * memoryFactor) + memorySlackBytes
    live.cgroup?.limit({ memory: pageUp(live.cgroup.memoryNow() + residentMax - resident) })
    live.killsAtClaim = live.cgroup?.memoryKills() ?? 0
    this.#holder.hold({
      wall: live.id,
      pid: live.pid,
      deadlineAt: performance.now() + asked.deadline,
      residentMax: this.#watches() ? residentMax : Infinity,
      peakBytes: resident,
    })
    return { spent: false }
  }

  #release(wall: string): { readonly peakBytes: number } {
    return { peakBytes: this.#holder.release(wall)?.peakBytes ?? 0 }
  }

  /** Resolves when no process of it is left. Idempotent: a wall that is gone was killed. */
  async #kill(wall: string, how: WallEnd): Promise<{ readonly took: number }> {
    const began = performance.now()
    const live = this.#walls.get(wall)
    if (!live) return { took: 0 }
    this.#end(wall, how, this.#holder.release(wall))
    for (let polls = 0; polls < KILL_POLLS_MAX && isAlive(live.pid); polls++)
      await pause(KILL_POLL_MS)
    return { took: performance.now() - began }
  }

  #end(wall: string, how: WallEnd, held: Held | undefined): void {
    const live = this.#walls.get(wall)
    if (!live) return
    live.how ??= how
    live.peakBytes = held?.peakBytes ?? 0
    killQuietly(live.pid)
    live.child.kill('SIGKILL')
  }

  /** After the last process: the uid, the group and the lease go back, and the server is told. */
  async #gone(live: Live): Promise<void> {
    if (!this.#walls.delete(live.id)) return
    const held = this.#holder.release(live.id)
    const isMemory =
      (live.cgroup?.memoryKills() ?? 0) > live.killsAtClaim || OUT_OF_MEMORY.test(live.complaint())
    for (let polls = 0; polls < KILL_POLLS_MAX && isAlive(live.pid); polls++) {
      killQuietly(live.pid)
      await pause(KILL_POLL_MS)
    }
    live.cgroup?.remove()
    live.slot?.release()
    this.#leases?.remove(live.id)
    this.#push({
      ended: live.id,
      how: live.how ?? (isMemory ? 'memory' : 'exit'),
      peakBytes: held?.peakBytes ?? live.peakBytes,
      detail: `exit ${live.child.exitCode ?? live.child.signalCode ?? 'unknown'}`,
    })
  }

  #find(wall: string): Live {
    const live = this.#walls.get(wall)
    if (!live) throw new MayflyError('NOT_FOUND', `Cannot find wall "${wall}"`)
    return live
  }

  async #sign(): Promise<Signer> {
    if (this.#signer) return this.#signer
    const { openSigner } = await import('./sign.ts')
    this.#signer ??= openSigner(path.join(await this.#options.stateFolder, 'keys'))
    return this.#signer
  }

  /** From here on it is known where leases and key are; what dead owners left there is ended first. */
  #settle(folder: string): Leases {
    if (!this.#leases) {
      this.#leases = openLeases(path.join(folder, 'leases'))
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
    }
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

/** Resolves at the single byte that says the program is warm, to what it complains of later; rejects with what it said instead. */
async function readiness(child: ChildProcess): Promise<() => string> {
  const pipe = child.stdio[4] as Readable
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const said: Buffer[] = []
  let complaint = ''
  const timer = setTimeout(
    () => reject(notReady(`it was not ready after ${READY_MS_MAX} ms`, complaint)),
    READY_MS_MAX,
  )
  child.stderr!.on('data', (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(-STDERR_BYTES_MAX)
  })
  child.once('error', (error) => reject(notReady(error.message, complaint)))
  child.once('exit', (code, signal) =>
    reject(notReady(`it ended (${code ?? signal})`, Buffer.concat(said).toString() + complaint)),
  )
  pipe.on('data', (chunk: Buffer) => {
    if (chunk[0] === 0x52) resolve()
    else said.push(chunk)
  })
  try {
    await promise
  } finally {
    clearTimeout(timer)
    child.removeAllListeners('exit')
    pipe.destroy()
  }
  return () => complaint
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

function noJail(platform: string): MayflyError {
  return new MayflyError('NO_JAIL', `Cannot jail a process on ${platform}`, {
    hint: 'Run Mayfly on Linux; on Windows, WSL 2 will do',
  })
}

/** `setpriv` becomes `unshare`, whose child is the program: the only one that is killed by pid. */
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
