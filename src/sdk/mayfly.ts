import { resolve } from 'node:path'
import { assemble, type Assembly } from '../assemble/assemble.ts'
import { assertOwnNames } from '../assemble/providers.ts'
import { loadConfig } from '../config/load.ts'
import { systemClock } from '../contract/clock.ts'
import type { Config, ConfigInput, OverrideInput } from '../contract/config.ts'
import type { Controls } from '../contract/controls.ts'
import type { Sink } from '../contract/event.ts'
import { closedError, MayflyError } from '../contract/error.ts'
import type { JobRequest } from '../contract/job.ts'
import type { Tightened, ZoneEnded } from '../contract/live.ts'
import type { Outcome } from '../contract/outcome.ts'
import type { Availability, ProvedProvider, Provider } from '../contract/provider.ts'
import type { OutputListener } from '../contract/pipeline.ts'
import type { CachedAnalysis } from '../contract/verdict.ts'
import type { RiskAnalysis, TemporalZone, ZoneCode } from '../contract/zones.ts'
import { newJob } from '../job.ts'
import { attempt } from '../lib/attempt.ts'
import { layerFolder } from '../lib/cache-folder.ts'
import { readTraceparent } from '../lib/traceparent.ts'
import type { EventCounts } from '../telemetry/counters.ts'
import { openTelemetry, type Telemetry } from '../telemetry/open.ts'
import type { SessionRequest } from '../contract/session.ts'
import { endedBeforeExec, readSession, sessionJob } from '../sessions/session-job.ts'
import type { WardenClient } from '../walls/client.ts'
import { Box } from './box.ts'
import { createInternals } from './create-internals.ts'
import { answerFunctions, withHostCall, type HostFunctions } from './host-functions.ts'
import type { MayflyInternals } from './internals.ts'
import { assertKnownOptions, isProvider } from './known-options.ts'
import { startWarden } from './start-warden.ts'
import type { CodeAssignment, ExecutionInfo, MonitorOptions, ZoneName } from './zone-calls.ts'
import { ZoneCalls } from './zones.ts'

export interface OpenOptions {
  /** Sinks of all events. */
  readonly sinks?: readonly Sink[]
  /**
   * Custom providers in addition to the built-in ones: objects (Node 26 only), or paths of provider modules, as in
   * `[providers] modules` of a configuration.
   */
  readonly providers?: readonly (Provider | string)[]
}

interface Asked {
  /** Tenant of the job; default `default`. Tenants never share a worker. */
  readonly tenant?: string | undefined
  readonly principal?: string | undefined
}

export interface SessionOptions extends Asked {
  /** Ends the session when aborted. */
  readonly signal?: AbortSignal | undefined
}

export interface RunOptions extends Asked {
  readonly signal?: AbortSignal | undefined
  /** Parent W3C trace context; ignored if malformed. */
  readonly traceparent?: string | undefined
  /** Receives live output; its promise is back-pressure on the guest. */
  readonly tap?: OutputListener | undefined
  /**
   * Functions of this process that the code may call, in JavaScript by `await name(...args)`. Arguments
   * and results are passed as JSON; a throw becomes an error in the code. The functions run with all rights of the application.
   */
  readonly functions?: HostFunctions | undefined
  /**
   * Package folders on this machine, read-only in the job: a project, its `node_modules`, a virtual environment, or
   * wheels. Each is copied once per tenant. Must be chosen by the application, never by the author of the code.
   */
  readonly packages?: readonly string[] | undefined
}

const knownOfOwner = { tenant: true, principal: 'text' } as const
const knownOfRun = {
  ...knownOfOwner,
  signal: 'signal',
  traceparent: 'text',
  tap: 'function',
  functions: 'functions',
  packages: 'folders',
} as const

/** For other classes of the library. */
export let internalsOf: (mayfly: Mayfly) => MayflyInternals

/** Mayfly inside an application: a warden as child process, the pipeline in this process, no server. */
export class Mayfly implements AsyncDisposable {
  static {
    internalsOf = (mayfly) => mayfly.#internals
  }
  readonly #assembly: Assembly
  readonly #telemetry: Telemetry
  readonly #zones: ZoneCalls
  readonly #internals: MayflyInternals
  #isClosed = false

  private constructor(assembly: Assembly, telemetry: Telemetry) {
    this.#assembly = assembly
    this.#telemetry = telemetry
    this.#zones = new ZoneCalls(assembly)
    this.#internals = createInternals(assembly)
  }

  /**
   * Opens Mayfly with a configuration: a file path, an object of the same shape, or nothing for safe defaults (then
   * `MAYFLY_CONFIG` and `./mayfly.toml` are read). Throws MayflyError CONFIG with the position of the error.
   *
   * @example
   * await using mayfly = await Mayfly.open()
   * const outcome = await mayfly.run({ code: 'return input.a + 1', input: { a: 1 } })
   * console.log(outcome.result) // 2
   */
  static async open(config?: string | ConfigInput, options: OpenOptions = {}): Promise<Mayfly> {
    const given =
      typeof config === 'string' ? { file: config } : config === undefined ? {} : { object: config }
    assertKnownOptions(options, { sinks: 'sinks', providers: 'providers' })
    const { providers = [], sinks = [] } = options
    const objects = providers.filter((one) => typeof one !== 'string')
    assertOwnNames(objects)
    const loaded = loadConfig({ ...given, env: process.env, cwd: process.cwd() })
    const inForce = withModules(loaded.config, providers)
    const telemetry = await openTelemetry(inForce, process.env, false)
    let warden: WardenClient | undefined
    try {
      warden = await startWarden({ stateFolder: inForce.state })
      // Undefined if no cache folder is known for this user.
      const layers = { layerFolder: attempt(layerFolder) }
      const own = { config: inForce, warden, kind: 'library', ...layers } as const
      const assembly = assemble({
        ...own,
        providers: objects,
        sinks: [...telemetry.sinks, ...sinks],
      })
      telemetry.watch({ ...assembly, warden })
      return new Mayfly(assembly, telemetry)
    } catch (error) {
      await Promise.allSettled([warden?.close(), telemetry.close()])
      throw error
    }
  }

  /**
   * Runs a job; resolves to its outcome, whatever the status. Throws MayflyError INVALID for an invalid request,
   * STATE if it cannot be recorded.
   */
  async run(request: JobRequest, options: RunOptions = {}): Promise<Outcome> {
    assertKnownOptions(options, knownOfRun)
    const { tenant = 'default', principal = 'library', signal = never, tap } = options
    const { traceparent, packages: folders = [], functions } = options
    if (functions) request = withHostCall(request)
    const hostCalls = functions && answerFunctions(functions, typeof request.network === 'object')
    const trace = traceparent !== undefined && readTraceparent(traceparent) ? { traceparent } : {}
    const caller = { tenant, principal, origin: 'library', ...trace } as const
    if (folders.length === 0)
      return this.#assembly.run(newJob(request, caller, systemClock), { signal, tap, hostCalls })

    using held = await this.#hold(tenant, folders)
    const packages = held.layers.map(({ layer }) => layer)
    const isNode = packages.some(({ kind }) => kind === 'node')
    const asked = isNode ? { language: 'node' as const, ...request } : request
    return await this.#assembly.run(newJob(asked, { ...caller, packages }, systemClock), {
      signal,
      tap,
      hostCalls,
    })
  }

  async #hold(tenant: string, folders: readonly string[]) {
    const { acquirePackages } = await import('../packages/acquire.ts')
    return await acquirePackages(tenant, folders, layerFolder())
  }

  /**
   * Opens a session: a sandbox that stays open and takes one exec after another. Throws MayflyError INVALID for an
   * invalid request, LANGUAGE_UNSUPPORTED for `js`, `ts` or `wasm`, and the error of a sandbox that did not start.
   *
   * @example
   * await using box = await mayfly.open({ language: 'python' })
   * await box.run({ code: 'x = 20' })
   * const { result } = await box.run({ code: 'x + 1' })
   * console.log(result) // 21
   */
  async open(request: SessionRequest = {}, options: SessionOptions = {}): Promise<Box> {
    assertKnownOptions(options, { ...knownOfOwner, signal: 'signal' })
    const { tenant = 'default', principal = 'library', signal = never } = options
    const owner = { tenant, principal, origin: 'library' } as const
    const asked = readSession(request)
    const job = sessionJob(asked, owner, systemClock)
    const opened = await this.#assembly.sessions.open(job, { signal })
    if (opened.kind === 'ended') throw endedBeforeExec(opened.outcome)
    return new Box(
      this.#assembly,
      this.#assembly.sessions.held.add(opened.session, job, asked),
      owner,
    )
  }

  /**
   * Calls the same code with each input in turn, in one sandbox; `outcome.calls` has the end of each call. Calls
   * share the realm: see docs/how-to/batch.md. At most 1,000 calls; the job limits apply to all of them together.
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
    if (!Array.isArray(inputs))
      return Promise.reject(new MayflyError('INVALID', 'Cannot take the inputs: expected a list'))
    return this.run({ ...request, calls: inputs.map((input) => ({ input })) }, options)
  }

  /** Analyses code without running or recording it. Throws MayflyError INVALID for an invalid request. */
  async analyze(
    request: JobRequest,
    options: Asked & {
      /** Name under which the caller stores the code; marks the analysis as a registration, also in traces. */
      readonly effectId?: string
    } = {},
  ): Promise<CachedAnalysis> {
    assertKnownOptions(options, { ...knownOfOwner, effectId: 'text' })
    const { tenant = 'default', principal = 'library', effectId } = options
    const job = newJob(request, { tenant, principal, origin: 'library' }, systemClock)
    return await this.#open(this.#assembly).analyse(job, { effectId })
  }

  /**
   * Starts code in temporal zones; resolves to the zones, `main` first. `monitorZones` waits for the outcome. Code
   * without annotations is split where that is unobservable; its schedule determines the kinds of zones. Throws
   * MayflyError INVALID for a syntax error.
   *
   * @example
   * const zones = await mayfly.initializeExecution('return 1', {})
   * const { result } = await mayfly.monitorZones(zones)
   * console.log(result) // 1
   */
  async initializeExecution(code: string, info?: ExecutionInfo): Promise<readonly TemporalZone[]> {
    return await this.#open(this.#zones).initializeExecution(code, info)
  }

  /** Reports what each part of the code does and how it can be split. Runs nothing. */
  async analyzeCode(code: string, info?: ExecutionInfo): Promise<RiskAnalysis> {
    return await this.#open(this.#zones).analyzeCode(code, info)
  }

  /** Zones that code, or the code of an analysis, would get: schedules, rights and channels. Runs nothing. */
  async createTemporalZones(
    given: string | RiskAnalysis,
    info?: ExecutionInfo,
  ): Promise<readonly TemporalZone[]> {
    return await this.#open(this.#zones).createTemporalZones(given, info)
  }

  /**
   * Code of each zone: `(code, zones)`, or `(code, analysis, zones)`. `monitorZones` then runs them. Throws MayflyError
   * PROTOCOL for an analysis of other code, and INVALID for zones that were planned for other code.
   */
  assignCodeToZones(...given: CodeAssignment): readonly ZoneCode[] {
    return this.#zones.assignCodeToZones(...given)
  }

  /** Reports events of initialised zones, or runs planned ones that have their code; resolves to the outcome. */
  monitorZones(zones: readonly ZoneName[], options?: MonitorOptions): Promise<Outcome> {
    return this.#zones.monitorZones(zones, options)
  }

  /** True once an anomaly was found in the zone of an execution. */
  detectAnomaly(zone: ZoneName): boolean {
    return this.#zones.detectAnomaly(zone)
  }

  /** Removes rights of a zone permanently; without `controls`, all its egress. Throws MayflyError CONFLICT for a loosening. */
  tightenPolicy(zone: ZoneName, controls?: Partial<Controls>): Promise<Tightened> {
    return this.#zones.tightenPolicy(zone, controls)
  }

  /** Ends one zone and leaves the rest running; `main` ends everything. Idempotent while the execution runs. */
  terminateZone(zone: ZoneName): Promise<ZoneEnded> {
    return this.#zones.terminateZone(zone)
  }

  /** Counts since opening: jobs by status and tier, events by point. */
  statistics(): EventCounts {
    return this.#open(this.#assembly).statistics()
  }

  /** Providers with their probe results on this machine. */
  async providers(): Promise<readonly ProvedProvider[]> {
    return await this.#open(this.#assembly).providers()
  }

  /**
   * Adds a provider at run time, after probing it; one that the application added before under its name is replaced.
   * Throws MayflyError INVALID for a value that is none, and for the name of a built-in provider other than `mock`.
   */
  async addProvider(provider: Provider): Promise<Availability> {
    if (!isProvider(provider))
      throw new MayflyError('INVALID', 'Cannot add the provider: it is none')
    assertOwnNames([provider])
    return await this.#open(this.#assembly).add(provider)
  }

  /**
   * Changes the configuration from the next job on; omitted fields stay. May only narrow unless `widen` is set;
   * recorded either way. Returns the configuration in force. Throws MayflyError INVALID, or FORBIDDEN with
   * `details.widens`.
   */
  override(patch: OverrideInput, options: { widen?: boolean; principal?: string } = {}): Config {
    assertKnownOptions(options, { widen: true, principal: 'text' })
    const { widen = false, principal = 'library' } = options
    return this.#open(this.#assembly).override(patch, { principal, mayWiden: widen })
  }

  /** Throws MayflyError CONFLICT after the close. */
  #open<T>(part: T): T {
    if (this.#isClosed) throw closedError()
    return part
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
    // Telemetry closes last, because closing emits events.
    await this.#assembly[Symbol.asyncDispose]()
    await this.#telemetry.close()
  }

  /** Cancels jobs, ends sessions and their processes; later calls are CONFLICT. Idempotent. */
  close(): Promise<void> {
    return this[Symbol.asyncDispose]()
  }
}

/** Adds the provider modules passed to `open` to the configuration. */
function withModules(config: Config, providers: NonNullable<OpenOptions['providers']>): Config {
  const paths = providers.filter((one) => typeof one === 'string').map((path) => resolve(path))
  if (paths.length === 0) return config
  const modules = [...new Set([...config.providers.modules, ...paths])]
  return { ...config, providers: { ...config.providers, modules } }
}

const never = new AbortController().signal
