import { assemble, type Assembly } from '../assemble/assemble.ts'
import { loadConfig } from '../config/load.ts'
import { systemClock } from '../contract/clock.ts'
import type { Config, ConfigInput, OverrideInput } from '../contract/config.ts'
import type { Sink } from '../contract/event.ts'
import type { JobRequest } from '../contract/job.ts'
import type { Outcome } from '../contract/outcome.ts'
import type { Provider } from '../contract/provider.ts'
import type { OutputListener } from '../contract/pipeline.ts'
import { newJob } from '../job.ts'
import { layerFolder } from '../lib/layer-folder.ts'
import { readTraceparent } from '../lib/traceparent.ts'
import type { Counts } from '../telemetry/counters.ts'
import { openTelemetry, type Telemetry } from '../telemetry/open.ts'
import { startWarden } from './start-warden.ts'
import { ZoneCalls, type ExecutionInfo, type MonitorOptions } from './zones.ts'

export interface OpenOptions {
  /** Gets every event. */
  readonly sinks?: readonly Sink[]
  /** Providers of your own, beside Mayfly's. */
  readonly providers?: readonly Provider[]
}

interface Asked {
  /** Whose job it is; `default` unless given. Tenants never share a worker. */
  readonly tenant?: string
  readonly principal?: string
}

export interface RunOptions extends Asked {
  readonly signal?: AbortSignal
  /** The W3C trace context that its spans become part of; what is not well-formed is left out. */
  readonly traceparent?: string
  /** Hears output as it comes; a promise holds the guest back. */
  readonly tap?: OutputListener
  /**
   * Folders of packages on this machine, read-only for the job: a project, its `node_modules`, a virtual environment, or
   * wheels. Each is copied once for a tenant and kept. The application names them, never whoever it runs code for.
   */
  readonly packages?: readonly string[]
}

/** The parts behind one, for other doors of the library. */
export let assemblyOf: (mayfly: Mayfly) => Assembly

/** Mayfly inside an application: a warden beside it, the road in it, no server. */
export class Mayfly implements AsyncDisposable {
  static {
    assemblyOf = (mayfly) => mayfly.#assembly
  }
  readonly #assembly: Assembly
  readonly #telemetry: Telemetry
  readonly #zones: ZoneCalls

  private constructor(assembly: Assembly, telemetry: Telemetry) {
    this.#assembly = assembly
    this.#telemetry = telemetry
    this.#zones = new ZoneCalls(assembly)
  }

  /**
   * Opens Mayfly with a configuration: a file's path, an object in the file's shape, or nothing for safe defaults
   * (then `MAYFLY_CONFIG` and `./mayfly.toml` are looked for). Throws MayflyError CONFIG with where it is wrong.
   *
   * @example
   * await using mayfly = await Mayfly.open()
   * const outcome = await mayfly.run({ code: 'return input.a + 1', input: { a: 1 } })
   * console.log(outcome.result) // 2
   */
  static async open(config?: string | ConfigInput, options: OpenOptions = {}): Promise<Mayfly> {
    const given =
      typeof config === 'string' ? { file: config } : config === undefined ? {} : { object: config }
    const loaded = loadConfig({ ...given, env: process.env, cwd: process.cwd() })
    const { config: inForce } = loaded
    const telemetry = await openTelemetry(inForce, process.env, false)
    const warden = await startWarden({ stateFolder: inForce.state })
    try {
      const sinks = [...telemetry.sinks, ...(options.sinks ?? [])]
      const layers = { layerFolder: folderOfLayers() }
      const own = { config: inForce, warden, kind: 'library', ...layers } as const
      const parts = { ...own, ...options, sinks } as const
      const assembly = assemble(parts)
      telemetry.watch({ ...assembly, warden })
      return new Mayfly(assembly, telemetry)
    } catch (error) {
      await warden.close()
      throw error
    }
  }

  /**
   * Runs one job and answers its outcome, whatever its end; see `Outcome.status`. Throws MayflyError INVALID for a
   * request that is none, STATE when it cannot be recorded.
   */
  async run(request: JobRequest, options: RunOptions = {}): Promise<Outcome> {
    const { tenant = 'default', principal = 'library', signal = never, tap } = options
    const { traceparent, packages: folders = [] } = options
    const trace = traceparent !== undefined && readTraceparent(traceparent) ? { traceparent } : {}
    const who = { tenant, principal, origin: 'library', ...trace } as const
    if (folders.length === 0)
      return this.#assembly.run(newJob(request, who, systemClock), { signal, tap })

    using held = await this.#hold(tenant, folders)
    const packages = held.layers.map(({ layer }) => layer)
    const isNode = packages.some(({ kind }) => kind === 'node')
    const asked = isNode ? { language: 'node' as const, ...request } : request
    return await this.#assembly.run(newJob(asked, { ...who, packages }, systemClock), {
      signal,
      tap,
    })
  }

  async #hold(tenant: string, folders: readonly string[]) {
    const { holdPackages } = await import('../packages/hold.ts')
    return await holdPackages(tenant, folders, layerFolder())
  }

  /**
   * Calls the same code with each input in turn, in one sandbox; `outcome.calls` says how each call ended. The calls
   * share what a realm shares: see docs/how-to/batch.md. At most 1,000; the limits of the job bound them all together.
   *
   * @example
   * const { calls } = await mayfly.batch({ code: 'return input * 2' }, [1, 2, 3])
   * console.log(calls?.map(({ result }) => result)) // [2, 4, 6]
   */
  batch(
    request: Omit<JobRequest, 'calls'>,
    inputs: readonly unknown[],
    options: RunOptions = {},
  ): Promise<Outcome> {
    return this.run({ ...request, calls: inputs.map((input) => ({ input })) }, options)
  }

  /**
   * What the code may do, without running it; nothing is recorded. Throws MayflyError INVALID for a request that is
   * none.
   */
  analyze(request: JobRequest, options: Asked = {}): ReturnType<Assembly['analyse']> {
    const { tenant = 'default', principal = 'library' } = options
    const job = newJob(request, { tenant, principal, origin: 'library' }, systemClock)
    return this.#assembly.analyse(job)
  }

  /**
   * Starts code in temporal zones and answers them, `main` first; `monitorZones` waits for what it comes to. Code without
   * annotations is taken apart where nobody could notice; which kinds of zones it gets is in its schedule. Throws
   * MayflyError INVALID for code that does not parse.
   *
   * @example
   * const zones = await mayfly.initializeExecution('return 1', {})
   * const { result } = await mayfly.monitorZones(zones)
   * console.log(result) // 1
   */
  initializeExecution(code: string, info?: ExecutionInfo) {
    return this.#zones.initializeExecution(code, info)
  }

  /** What code does where, and how it can be taken apart. Runs nothing. */
  analyzeCode(code: string, info?: ExecutionInfo) {
    return this.#zones.analyzeCode(code, info)
  }

  /** The zones that code would get: their lives, what each may do, and whom it may call. Runs nothing. */
  createTemporalZones(code: string, info?: ExecutionInfo) {
    return this.#zones.createTemporalZones(code, info)
  }

  /** Which part of the code each zone has. Throws MayflyError PROTOCOL for an analysis of other code. */
  assignCodeToZones(...given: Parameters<ZoneCalls['assignCodeToZones']>) {
    return this.#zones.assignCodeToZones(...given)
  }

  /** Tells what happens in zones that were initialised, and resolves to what the execution came to. */
  monitorZones(zones: Parameters<ZoneCalls['monitorZones']>[0], options?: MonitorOptions) {
    return this.#zones.monitorZones(zones, options)
  }

  /** Takes something away from a zone for good. Throws MayflyError CONFLICT for what would loosen. */
  tightenPolicy(...given: Parameters<ZoneCalls['tightenPolicy']>) {
    return this.#zones.tightenPolicy(...given)
  }

  /** Ends one zone, and the rest goes on; of `main`, everything. Idempotent while the execution lives. */
  terminateZone(zone: Parameters<ZoneCalls['terminateZone']>[0]) {
    return this.#zones.terminateZone(zone)
  }

  /** Counts since this was opened: jobs by status and by tier, events by point. */
  statistics(): Counts {
    return this.#assembly.statistics()
  }

  /** Each provider, with what its probe proved on this machine. */
  providers(): ReturnType<Assembly['providers']> {
    return this.#assembly.providers()
  }

  /** Adds a provider while running; it is proved first. */
  addProvider(provider: Provider): ReturnType<Assembly['add']> {
    return this.#assembly.add(provider)
  }

  /**
   * Changes the configuration from the next job on; what is left out stays. It may only narrow, unless `widen` says
   * by name that wider is meant; either way it is in the record. Answers what is in force then. Throws MayflyError
   * INVALID for what is no override, FORBIDDEN with `details.widens` for what would be wider.
   */
  override(
    patch: OverrideInput,
    { widen = false, principal = 'library' }: { widen?: boolean; principal?: string } = {},
  ): Config {
    return this.#assembly.override(patch, { principal, mayWiden: widen })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // The last events come while the parts close, so whoever listens closes last.
    await this.#assembly[Symbol.asyncDispose]()
    await this.#telemetry.close()
  }

  close(): Promise<void> {
    return this[Symbol.asyncDispose]()
  }
}

const never = new AbortController().signal

/** Undefined where nothing says which folder is this user's. */
function folderOfLayers(): string | undefined {
  try {
    return layerFolder()
  } catch {
    return undefined
  }
}
