import type {
  DeadEnclosure,
  Enclosure,
  EnclosureSpec,
  Engine,
  EngineFacts,
  EngineHost,
  EngineOptions,
} from '../../../contract/engine.ts'
import { closing, noJail } from '../../refusals.ts'
import { sweepDead } from '../sweep.ts'
import type { GuestEngineParts, GuestStarter } from './start.ts'

const sampleEveryMs = 10

/**
 * An engine whose walls are guests with an agent: a kernel of their own, in a process that is jailed itself.
 *
 * Start of a wall: take a guest of its key from the source (`source.ts`), with a runner parked in it; measure. Claim: give its
 * agent a seed, the time and limits, and bound the cgroup. End: the runner exits and the carrier has delivered everything,
 * or the warden kills the process; either way the guest ends with it.
 *
 * What a guest says (its exit code, its processes) is used for display and for how a job is told. Memory, CPU time and the end
 * of a wall come from this machine's kernel. Bytes of the job flow to the server on a socket pair.
 *
 * Relies on the images of the store. Not handled here: system calls by the phase of a life, zones inside.
 */
export class GuestEngine implements Engine {
  readonly name: string
  readonly #parts: () => Promise<GuestEngineParts>
  readonly #options: EngineOptions
  readonly #host: EngineHost
  #starter: Promise<GuestStarter> | undefined
  #isClosed = false

  /** `parts`: loaded with the first wall. */
  constructor(
    name: string,
    parts: () => Promise<GuestEngineParts>,
    { options, host }: { readonly options: EngineOptions; readonly host: EngineHost },
  ) {
    this.name = name
    this.#parts = parts
    this.#options = options
    this.#host = host
  }

  /** Probes nothing: the warden calls it for each engine before its first wall, and few servers use this one. */
  detect(): EngineFacts {
    return { root: process.getuid?.() === 0, sampleEveryMs }
  }

  async start(spec: EnclosureSpec): Promise<Enclosure> {
    if (process.platform !== 'linux') throw noJail(process.platform)
    this.#starter ??= this.#load()
    const starter = await this.#starter
    if (this.#isClosed) throw closing()
    return await starter.start(spec)
  }

  sweep(dead: readonly DeadEnclosure[]): void {
    sweepDead(dead)
  }

  /** No guest is without a lease: it is written before the fork. */
  sweepOrphans(): void {}

  async close(): Promise<void> {
    this.#isClosed = true
    await (await this.#starter)?.close()
  }

  async #load(): Promise<GuestStarter> {
    const [{ GuestStarter: Starter }, parts] = await Promise.all([
      import('./start.ts'),
      this.#parts(),
    ])
    return new Starter(parts, this.#options, this.#host)
  }
}
