import type {
  Engine,
  EngineFacts,
  EngineHost,
  EngineName,
  EnclosureSpec,
} from '../contract/engine.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { WardenOptions } from '../contract/warden-options.ts'
import type { Reply, WardenFacts } from '../contract/warden.ts'
import type { Request } from '../contract/warden-request.ts'
import { leaseFolder, signerFolder } from '../lib/state-folder.ts'
import { closeOnExecFrom } from '../os/libc.js'
import { proportionalBytes } from '../os/proc.ts'
import { isOutOfDescriptors, reserveDescriptor } from '../os/read.ts'
import { engineFor, engines } from './engines/index.ts'
import type { OperatorOptions, OperatorPrograms } from './operator-programs.ts'
import type { Forks } from './forks.ts'
import { openLeases, type Leases } from './lease.ts'
import { LiveWalls } from './live-walls.ts'
import { operations, type Answer, type Handover } from './operations.ts'
import { outOfDescriptors } from './refusals.ts'
import type { Resumptions } from './resumptions.ts'
import type { HeadSigner } from './sign.ts'
import { Starter } from './start.ts'

/**
 * The small process that starts, limits and ends every wall, and signs the record's checkpoints. It reads no data of a
 * job: the socket to a wall is passed to the server and closed here. Requests are names and numbers; an engine composes
 * every command. This core knows id, state, tenant, deadline and lease of a wall; see contract/engine.ts.
 */

/** First descriptor above the standard streams. */
const FIRST_INHERITED = 3
/** Delay of the sweep for orphans, so that no first job waits for it. */
const ORPHANS_AFTER_MS = 1_000

export class Warden {
  readonly #options: WardenOptions
  readonly #push: (reply: Reply) => void
  readonly #engines: ReadonlyMap<EngineName, Engine>
  readonly #walls: LiveWalls
  readonly #starter: Starter
  readonly #releaseDescriptor: () => void
  /** Leases of starts that completed before the state folder was known. */
  readonly #pendingLeases = new Map<string, Parameters<Leases['write']>>()
  #operatorOptions: OperatorOptions | undefined
  #programs: OperatorPrograms | undefined
  #resumptions: Resumptions | undefined
  #forks: Forks | undefined
  #leases: Leases | undefined
  /** Sweep for orphans of dead wardens that has not been made yet. */
  #orphansDue: NodeJS.Timeout | undefined
  #signer: HeadSigner | undefined

  constructor(options: WardenOptions, push: (reply: Reply) => void) {
    this.#options = options
    this.#push = push
    // A descriptor that a shell left open would be inherited by every wall: not every launcher closes inherited
    // descriptors.
    if (process.platform === 'linux') closeOnExecFrom(FIRST_INHERITED)
    this.#releaseDescriptor = reserveDescriptor()
    const rows = Object.entries(engines)
    this.#engines = new Map(rows.map(([name, { open }]) => [name, open(options, this.#host(name))]))
    const all = [...this.#engines.values()]
    this.#walls = new LiveWalls({
      push,
      sampleEveryMs: Math.min(...all.map((engine) => engine.detect().sampleEveryMs)),
      memoryBytes: options.memoryBytes,
    })
    this.#starter = new Starter({
      engineFor: (spec) => this.#engineFor(spec),
      count: () => this.#walls.size,
      settled: () => (this.#leases ? undefined : this.#whenSettled()),
      add: (enclosure, within) => this.#walls.add(enclosure, within),
    })
    if (typeof options.stateFolder === 'string') this.#settle(options.stateFolder)
  }

  /** True if a wall has a job. */
  get hasJobs(): boolean {
    return this.#walls.hasJobs
  }

  /** Answers one request. Sockets come with the reply and belong to the caller from then on. */
  async answer(request: Request): Promise<{ readonly reply: Reply; readonly handover?: Handover }> {
    try {
      const { value, handover } = await this.#do(request)
      return { reply: { id: request.id, ok: true, value }, ...(handover && { handover }) }
    } catch (error) {
      return { reply: failure(request.id, error) }
    }
  }

  /** Allows the server to request programs of the operator's configuration; denied by default. */
  allowPrograms(options: OperatorOptions): void {
    this.#operatorOptions = options
  }

  /** Starts a wall in advance: the first request for an equal spec takes it. */
  startAhead(spec: EnclosureSpec): void {
    this.#starter.ahead(spec)
  }

  /** Ends every wall and resolves when they are gone, each within a bound. */
  async close(): Promise<void> {
    this.#starter.stop()
    await Promise.all([...this.#engines.values()].map((engine) => engine.close()))
    if (this.#orphansDue) this.#sweepOrphans()
    await this.#starter.done()
    await this.#forks?.close()
    await this.#walls.close()
    await this.#programs?.close()
    this.#signer?.close()
    this.#releaseDescriptor()
  }

  async #do(request: Request): Promise<Answer> {
    switch (request.op) {
      case 'start':
        return await this.#starter.start(request)
      case 'loads':
        return { value: this.#walls.loads() }
      case 'program': {
        const handle = await (await this.#operatorPrograms()).start(request.name)
        return { value: null, handover: { wall: '', handle } }
      }
      case 'resume':
        return await (await this.#resuming()).begin(request.save)
      case 'resumed':
        return await (await this.#resuming()).take(request.resumption)
      case 'fork':
        return await (await this.#forking()).begin(request)
      case 'forked':
        return await (await this.#forking()).start(request.fork)
      case 'forget-fork':
        return await (await this.#forking()).forget(request.fork)
      case 'facts':
        return { value: await this.#facts() }
      case 'image': {
        const { admittedImage } = await import('./images.ts')
        const { imageState, stateFolder } = this.#options
        return { value: admittedImage(imageState ?? (await stateFolder), request, Date.now) }
      }
      case 'sign':
        return { value: (await this.#sign()).sign(request.digests, request, Date.now()) }
      default: {
        const operation = operations[request.op] as (
          walls: LiveWalls,
          asked: Request,
        ) => Answer | Promise<Answer>
        return await operation(this.#walls, request)
      }
    }
  }

  #engineFor({ program, mechanism = 'any', image }: EnclosureSpec): Engine {
    const name = engineFor(program, mechanism) ?? ''
    const engine = this.#engines.get(name)
    if (image !== undefined && !engines[name]?.usesImages)
      throw new MayflyError(
        'UNAVAILABLE',
        `Cannot start program "${program}" in an image: no engine supports it by "${mechanism}"`,
      )
    if (engine) return engine
    throw new MayflyError(
      'UNAVAILABLE',
      `Cannot start program "${program}": no engine starts it by "${mechanism}"`,
    )
  }

  #host(name: EngineName): EngineHost {
    return {
      lease: (enclosure, remains) => {
        if (this.#leases) this.#leases.write(enclosure, name, remains)
        else this.#pendingLeases.set(enclosure, [enclosure, name, remains])
      },
      releaseLease: (enclosure) => {
        this.#pendingLeases.delete(enclosure)
        this.#leases?.remove(enclosure)
      },
      report: (report) => this.#push(report),
      state: async () => await this.#options.stateFolder,
    }
  }

  async #operatorPrograms(): Promise<OperatorPrograms> {
    if (!this.#operatorOptions)
      throw new MayflyError(
        'UNAVAILABLE',
        'Cannot start a program: this warden has no operator programs',
      )
    const { OperatorPrograms: Programs } = await import('./operator-programs.ts')
    this.#programs ??= new Programs(this.#operatorOptions)
    return this.#programs
  }

  async #resuming(): Promise<Resumptions> {
    const { Resumptions: Opened } = await import('./resumptions.ts')
    this.#resumptions ??= new Opened({
      engineFor: ({ program, mechanism }) => this.#engineFor({ ...noSpares, program, mechanism }),
      start: (resumed) => this.#starter.resume(resumed),
      kill: (wall) => void this.#walls.kill(wall, 'killed'),
    })
    return this.#resumptions
  }

  async #forking(): Promise<Forks> {
    const { Forks: Opened } = await import('./forks.ts')
    this.#forks ??= new Opened({
      find: (wall) => this.#walls.find(wall),
      start: (forked, parent) => this.#starter.fork(forked, parent),
    })
    return this.#forks
  }

  async #whenSettled(): Promise<void> {
    this.#settle(await this.#options.stateFolder)
  }

  /** Ends the remains of dead owners, then allows leases to be written. */
  #settle(folder: string): void {
    if (this.#leases) return
    const leases = openLeases(leaseFolder(folder), folder)
    const swept = leases.sweep((engine, dead) => this.#engines.get(engine)?.sweep(dead))
    this.#push({ swept })
    this.#leases = leases
    for (const lease of this.#pendingLeases.values()) leases.write(...lease)
    this.#pendingLeases.clear()
    const timer = setTimeout(() => this.#sweepOrphans(), ORPHANS_AFTER_MS).unref()
    // Only an owner that was killed leaves orphans: then also a warden that closes at once sweeps.
    if (swept > 0) this.#orphansDue = timer
  }

  #sweepOrphans(): void {
    clearTimeout(this.#orphansDue)
    this.#orphansDue = undefined
    for (const engine of this.#engines.values()) {
      try {
        engine.sweepOrphans()
      } catch {
        // The next start retries.
      }
    }
  }

  async #sign(): Promise<HeadSigner> {
    if (this.#signer) return this.#signer
    const { openSigner } = await import('./sign.ts')
    this.#signer ??= openSigner(signerFolder(await this.#options.stateFolder))
    return this.#signer
  }

  async #facts(): Promise<WardenFacts> {
    const facts = [...this.#engines.values()].map((engine) => engine.detect())
    const { root, machine } = facts.find(describesMachine)!
    return {
      pid: process.pid,
      root,
      walls: this.#walls.all().map(({ enclosure }) => enclosure.facts()),
      proportionalBytes: proportionalBytes(process.pid),
      publicKey: (await this.#sign()).publicKey,
      machine,
    }
  }
}

const noSpares = { spares: 0, spareMiB: 8 }

function describesMachine(facts: EngineFacts): facts is Required<EngineFacts> {
  return facts.machine !== undefined
}

function failure(id: number, thrown: unknown): Reply {
  const error = isOutOfDescriptors(thrown) ? outOfDescriptors() : thrown
  if (error instanceof MayflyError) {
    const { code, message, hint } = error
    return { id, ok: false, code, message, ...(hint && { hint }) }
  }
  return { id, ok: false, code: 'INTERNAL', message: messageOf(error) }
}
