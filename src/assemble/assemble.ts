/**
 * From configuration to wired parts. Concrete walls are rows of `providers.ts`; this opens stores, sinks and rooms, and
 * injects the dependencies of each.
 */
import os from 'node:os'
import { join } from 'node:path'
import { systemClock, type Clock } from '../contract/clock.ts'
import { overrideConfig } from '../config/override.ts'
import type { Config, OverrideInput } from '../contract/config.ts'
import type { Sink, Emitter } from '../contract/event.ts'
import type { Evidence } from '../contract/evidence.ts'
import type { Job } from '../contract/job.ts'
import type { Operations } from '../contract/live.ts'
import type { KeepCapture, Plan } from '../contract/pipeline.ts'
import type { Outcome } from '../contract/outcome.ts'
import type { Availability, ProvedProvider, Provider } from '../contract/provider.ts'
import type { Analysis, CachedAnalysis } from '../contract/verdict.ts'
import { OpenSessions } from '../sessions/open-sessions.ts'
import { createEffects, type Effects } from '../effects/effects.ts'
import { withRegistrationEvents } from '../effects/registration-events.ts'
import { openEffectStore, type EffectStore } from '../effects/store.ts'
import type { EgressParts } from '../egress/open-egress.ts'
import { captureOf } from '../evidence/captures.ts'
import { createCustody, type CustodyParts } from '../evidence/custody.ts'
import { openMemoryBases } from '../evidence/memory-bases.ts'
import { openRecord, type AuditRecord } from '../evidence/record.ts'
import { createMutex } from '../lib/mutex.ts'
import { repliesFolder, wasLatestKnown } from '../lib/state-folder.ts'
import { type Caller, run } from '../life.ts'
import { openSession } from '../session.ts'
import type { OpenedSession, SessionCaller } from '../contract/session.ts'
import { createLiveOperations } from '../operate/live-operations.ts'
import { prefersWeaker } from '../profile/weaker-preference.ts'
import type { AdmissionBudget } from '../pool/admission-counts.ts'
import { budgetFor, Pool } from '../pool/pool.ts'
import type { ProviderModules } from '../provider-modules/modules.ts'
import { ResultCache } from '../pool/result-cache.ts'
import { createSparePools, type SparePools } from '../pool/spare-pools.ts'
import { createCounters, type EventCounts } from '../telemetry/counters.ts'
import { EventStream } from '../telemetry/event-stream.ts'
import { openReplyCache } from '../threat/reply-cache.ts'
import { createAnalysisClient, type AnalysisClient } from '../threat/analysis-client.ts'
import type { WardenClient } from '../walls/client.ts'
import type { Guard } from '../watch/guard.ts'
import { createEventForwarder } from '../watch/event-forwarder.ts'
import { createCodeAnalysis, type CodeAnalysis, type Partition } from './code-analysis.ts'
import { egressFor, foldersFor } from './egress.ts'
import { HeadStart } from './head-start.ts'
import { ProvedWalls } from './proved-walls.ts'
import { createJudged } from './judged.ts'
import { openProviderModules } from './provider-modules.ts'
import { providerLoaders } from './providers.ts'
import { closeDead, recordEvent } from './record-events.ts'
import { ConfiguredSpares } from './configured-spares.ts'
import { ImageLookups } from './image-lookups.ts'
import { createRooms, type WiredRooms } from './rooms.ts'
import { RunningJobs } from './running-jobs.ts'
import { unavailableNames, type UnavailableName } from './unavailable-names.ts'
import { openWatching } from './watching.ts'

export interface AssembleOptions {
  readonly config: Config
  readonly warden: WardenClient
  /**
   * `once` (a single short run) keeps no spares; the others do. `runs` serves consecutive runs of one user. In `once` and
   * `runs` a single job may use the whole budget.
   */
  readonly kind: 'server' | 'library' | 'once' | 'runs'
  readonly sinks?: readonly Sink[]
  /** Third-party providers; their code is trusted and runs in this process. */
  readonly providers?: readonly Provider[]
  readonly clock?: Clock
  /** Folders that jobs of this process read or write: no provider module is loaded from there. */
  readonly jobFolders?: readonly string[]
  /** Folder of package layers; without it no job has packages. */
  readonly layerFolder?: string | undefined
  /** Dials local servers in place of the internet: for tests, and for an inspection. */
  readonly dial?: EgressParts['dial'] | undefined
  /** For tests: bytes that jobs may hold together, in place of a share of this machine's. */
  readonly budget?: Pick<AdmissionBudget, 'memory'>
}

export interface Assembly extends AsyncDisposable {
  readonly config: Config
  readonly clock: Clock
  readonly emitter: Emitter
  readonly record: AuditRecord
  readonly pool: Pool
  /** Figures of the spare pools: spares kept, and their cost. */
  readonly stock: Pick<SparePools, 'facts'>
  readonly analysis: AnalysisClient
  /** The road. Waits for the first proof of the walls. */
  run(job: Job, caller: Caller): Promise<Outcome>
  /**
   * Verifies signatures and analyses the code, without a run or a record. Throws MayflyError SIGNATURE_INVALID,
   * SIGNER_UNKNOWN or SIGNATURE_REQUIRED before it parses any code. With `effectId` it ends with the event of a
   * registration (`effect/registered` or `effect/refused`), for a caller that stores the code itself.
   */
  analyse(job: Job, options?: { readonly effectId?: string | undefined }): Promise<CachedAnalysis>
  /**
   * Computes the zones of a job without running it; a run of the same job gets the same zones. Throws as `analyse` does,
   * and INVALID for code that does not parse.
   */
  partition(job: Job): Promise<Partition>
  /** Analysis and plan of a job: its profile, or the reason why it cannot run. Runs and records nothing. Throws as `analyse` does. */
  explain(job: Job): Promise<ExecutionExplanation>
  readonly sessions: ProcessSessions
  /** Code that tenants registered to run by name. */
  readonly effects: Effects
  /** Anomaly detection over all lives. */
  readonly guard: Guard
  /** Live jobs, and operator commands to them. */
  readonly operations: Operations
  /** Store of memory captures taken from walls. */
  readonly evidence: Evidence
  /** Event counts since the assembly was opened; counts only jobs with a line in the record. */
  statistics(): EventCounts
  /** Each provider with the result of its probe; probes those not probed yet. */
  providers(): Promise<readonly ProvedProvider[]>
  /** The walls that this configuration can choose, proved. */
  walls(): Promise<readonly ProvedProvider[]>
  /** Names of providers that are probed only when a job first needs them. */
  unproved(): readonly string[]
  /** Walls that the configuration names and that are not available, proved first. */
  unavailable(): Promise<readonly UnavailableName[]>
  /** Providers proved so far, without waiting for further probes. */
  proved(): readonly ProvedProvider[]
  /** Names of provider modules that were refused: broken, not trusted, or not proved. */
  refused(): readonly string[]
  /** Changes the configuration from the next job on. Narrows freely; widening needs the permission. Throws MayflyError. */
  override(
    patch: OverrideInput,
    by: { readonly principal: string; readonly mayWiden: boolean },
  ): Config
  /**
   * Changes the configuration once the walls are proved: a default provider in the patch must be known and proved here,
   * otherwise it throws MayflyError INVALID.
   */
  change(
    patch: OverrideInput,
    by: { readonly principal: string; readonly mayWiden: boolean },
  ): Promise<Config>
  /** Refuses egress from walls to these ports: the ones that this server listens on. */
  closePorts(ports: readonly number[]): void
  /** Loads a provider while running: listed, and chosen from the next job on. */
  add(provider: Provider): Promise<Availability>
}

/** Analysis and plan of a job that was not run. */
export interface ExecutionExplanation {
  readonly analysis: Analysis
  readonly plan: Plan
}

/** Sessions of this process. */
export interface ProcessSessions {
  /** Opens a session for a job whose `session` is `open`; throws as `run` does. */
  open(job: Job, caller: SessionCaller): Promise<OpenedSession>
  readonly held: OpenSessions
}

/** With less memory than this, the process keeps a single spare worker without a tenant. */
const SMALL_MACHINE_BYTES = 2 ** 30
const SPARES = 8

/** Dependencies passed to each part of the assembly. */
interface Base {
  readonly options: AssembleOptions
  readonly clock: Clock
  readonly emitter: EventStream
  readonly record: AuditRecord
  readonly counts: () => EventCounts
  /** The configuration in force. */
  readonly config: () => Config
  readonly replaceConfig: (next: Config) => void
  /** Unsubscribes from the loss of the warden, before it is closed on purpose. */
  readonly unwatchWarden: () => void
}

/** Opens the record and starts proving walls, a library at its first job; nothing here waits for them. */
export function assemble(options: AssembleOptions): Assembly {
  const base = openBase(options)
  const { clock, emitter, record, config } = base
  const { layerFolder } = options
  const watching = openWatching(base)
  const forwarder = createEventForwarder()
  emitter.listen(forwarder.sink)
  const check: OutboundCheckFor = (run) => watching.guard.outboundCheck(run)
  const { cachedReplies, isLikelyCached } = openReplies(base)
  const { walls, pool, stock, analysis, ownPorts, modules, shareTraffic, ahead } = openWalls(
    base,
    check,
    isLikelyCached,
  )
  const analysed = { ahead, client: analysis, cachedReplies }
  const code = createCodeAnalysis({ ...base, ...analysed, watching, layerFolder })
  const { keep, takeBundle, evidence, writeRecord, captures } = openCustody(base)
  const operating = createLiveOperations({ keep, mutex: captures, writeRecord })
  const { images, configuredSpares } = openImages(base, walls, stock)
  const rooms = createRooms({
    ...base,
    walls,
    images,
    code,
    pool,
    watching,
    forwarder,
    operating,
    keep,
    takeBundle,
    captures,
    shareTraffic,
    ahead,
    cache: new ResultCache({ clock, emitter, bounds: () => config().cache }),
  })
  const held = new OpenSessions({ clock, bounds: () => config().sandboxes })
  const jobs = new RunningJobs()
  const effects = openEffects(base, { analyse: (job) => code.judge(job), plan: rooms.plan })

  return {
    get config() {
      return config()
    },
    clock,
    emitter,
    record,
    pool,
    stock,
    analysis,
    run: (job, caller) => jobs.run(caller, (own) => run(job, rooms, own)),
    ...analysisCalls(base, code, rooms, ahead),
    sessions: { held, open: (job, caller) => jobs.add(() => openSession(job, rooms, caller)) },
    effects: effects.calls,
    guard: watching.guard,
    operations: operating.operations,
    evidence,
    statistics: base.counts,
    ...provedCalls(base, walls, ahead, modules),
    ...overrides(base, walls, ahead),
    closePorts: (ports) => ports.forEach((one) => ownPorts.add(one)),
    async [Symbol.asyncDispose]() {
      for (const one of [modules, walls]) one?.close()
      await Promise.all([jobs.close(), ahead.close()])
      await held.closeAll()
      base.unwatchWarden()
      const parts = [configuredSpares, ...walls.loaded, analysis, record, watching]
      await closeParts(parts, effects, options.warden)
    },
  }
}

/** Analyses without a run, each with an event at its end. */
function analysisCalls(
  base: Base,
  code: CodeAnalysis,
  rooms: Pick<WiredRooms, 'ready' | 'prove' | 'plan'>,
  ahead: HeadStart,
): Pick<Assembly, 'analyse' | 'partition' | 'explain'> {
  const judged = createJudged(base)
  return {
    async explain(job) {
      await rooms.ready(job)
      const analysis = await judged(
        job,
        undefined,
        () => code.judge(job),
        (result) => result,
      )
      await rooms.prove(job, analysis)
      return { analysis, plan: rooms.plan(job, analysis.verdict) }
    },
    analyse(job, { effectId } = {}) {
      const work = () => code.judge(job)
      return judged(job, effectId, work, (analysis) => analysis)
    },
    async partition(job) {
      await ahead.proved()
      const work = () => code.partition(job, rooms.plan)
      return await judged(job, undefined, work, () => undefined)
    },
  }
}

/** Closes all parts, also after a failure, and throws the first failure in the end. */
async function closeParts(
  parts: readonly { close?(): Promise<unknown> }[],
  effects: { close(): void },
  warden: Pick<AssembleOptions['warden'], 'close'>,
): Promise<void> {
  const closed = await Promise.allSettled(parts.map(async (one) => await one.close?.()))
  effects.close()
  // Destroys every wall that is left, also those of a provider that failed to close.
  await warden.close()
  for (const one of closed) if (one.status === 'rejected') throw one.reason
}

function openBase(options: AssembleOptions): Base {
  const { warden, clock = systemClock } = options
  const counters = createCounters()
  const sinks: Sink[] = [counters.sink, ...(options.sinks ?? [])]
  const emitter = new EventStream({ clock, sinks })
  const record = openRecord({
    stateFolder: options.config.state,
    clock,
    emitter,
    signer: { checkpoint: (digests, from) => warden.sign(digests, from) },
  })
  sinks.push(record.sink)
  closeDead(record, clock)
  const unwatchWarden = reportWarden(warden, emitter)
  warden.onSentinel(({ isOn, ...fields }) =>
    emitter.emit(isOn ? 'sentinel/returned' : 'sentinel/lost', isOn ? {} : fields, {
      actor: 'warden',
    }),
  )
  let inForce = options.config
  return {
    options,
    clock,
    emitter,
    record,
    counts: () => counters.read(),
    config: () => inForce,
    replaceConfig: (next) => void (inForce = next),
    unwatchWarden,
  }
}

/** Emits the start, sweep and loss of the warden; the returned function unsubscribes from the loss. */
function reportWarden(warden: WardenClient, emitter: Emitter): () => void {
  const about = { actor: 'warden' } as const
  emitter.emit('warden/started', {}, about)
  void reportSwept(warden, emitter)
  return warden.onLost(() => emitter.emit('warden/lost', {}, about))
}

async function reportSwept({ swept }: WardenClient, emitter: Emitter): Promise<void> {
  const walls = (await swept) ?? 0
  if (walls > 0) emitter.emit('warden/swept', { walls }, { actor: 'warden' })
}

/** Pool, providers and analysis process, within one budget. */
function openWalls(base: Base, outboundCheckFor: OutboundCheckFor, isLikelyCached: boolean) {
  const { options, clock, emitter, config } = base
  const { warden, kind } = options
  const { port, jobs, queue_wait: waitMsMax } = config().server
  const ownPorts = new Set(port === 0 ? [] : [port, port + 1])
  const isOnce = kind === 'once'
  const budget = {
    ...budgetFor({ jobs, waitMsMax }),
    ...options.budget,
    isOneAlone: isOnce || kind === 'runs',
  }
  const atOnce = os.availableParallelism()
  const busyMax = budget.runnable + (budget.express ?? 0)
  const analysis = createAnalysisClient({
    warden,
    emitter,
    atOnce,
    once: isOnce,
    keepReady: () => ahead.hasBegun,
  })
  const isFrugal = isOnce || os.totalmem() < SMALL_MACHINE_BYTES
  const stock = createSparePools(clock, emitter)
  const egress = egressFor(config(), {
    emitter,
    dial: options.dial,
    ownPorts: () => ownPorts,
    outboundCheckFor,
  })
  const loaders = providerLoaders({
    config: config(),
    warden,
    emitter,
    spares: isFrugal ? 0 : SPARES,
    wallsMax: busyMax + 1,
    keepReady: !isOnce,
    warm: (program) => stock.createPool(program),
    most: isFrugal ? 0 : busyMax,
    openEgressPath: egress.open,
    openFolders: foldersFor(emitter, config().state),
  })
  const walls = new ProvedWalls({ loaders, others: options.providers ?? [], emitter, clock })
  const pool = new Pool({
    clock,
    emitter,
    budget,
    stock,
    provider: (name) => walls.find(name),
    loads: () => warden.loads(),
  })
  const modules = openModules(base, walls)
  const ahead = new HeadStart({
    clock,
    isPatient: kind === 'library',
    prove: () => proveWalls(walls, base),
    warm: () => (isLikelyCached ? Promise.resolve() : analysis.ready()),
  })
  ahead.start()
  return { walls, pool, stock, analysis, ownPorts, modules, ahead, shareTraffic: egress.share }
}

/** Cache of replies for a single run. If that of the last run was in it, this run's may be, too. */
function openReplies({ options: { kind }, config }: Base) {
  const { state } = config()
  const cachedReplies = kind === 'once' ? openReplyCache(repliesFolder(state)) : undefined
  return { cachedReplies, isLikelyCached: cachedReplies !== undefined && wasLatestKnown(state) }
}

/** Resolves when the walls proved at start are; a server then proves process walls too, which most programs need. */
function proveWalls(walls: ProvedWalls, { options, config }: Base): Promise<void> {
  const proving = walls.proveAtStart(config())
  // A wall that could not be proved is proved by its first job.
  if (options.kind === 'server')
    void proving.then(() => walls.proveProcesses()).catch(() => undefined)
  return proving
}

/** Image lookups, and the configured spares, which only a server or library keeps. */
function openImages(base: Base, walls: ProvedWalls, stock: SparePools) {
  const { options, config } = base
  const { warden, kind } = options
  const images = new ImageLookups({ warden, config, drop: (digest) => stock.dropImage(digest) })
  const rows = kind === 'server' || kind === 'library' ? config().spares : []
  return { images, configuredSpares: new ConfiguredSpares({ ...base, rows, walls, images }) }
}

/** Provider modules; their folder is watched except in a single run, which loads them on demand. */
function openModules({ options, config, record, emitter, clock }: Base, walls: ProvedWalls) {
  const { layerFolder, jobFolders = [], kind } = options
  const modules = openProviderModules({
    config: config(),
    walls,
    record,
    emitter,
    clock,
    jobFolders: [...jobFolders, ...(layerFolder === undefined ? [] : [layerFolder])],
  })
  if (kind !== 'once') modules?.watch()
  return modules
}

type OutboundCheckFor = (run: string) => ((piece: Buffer) => boolean) | undefined

/** Storage of captures. The record's line is written first: without it no event is emitted and no capture returned. */
function openCustody({ options, record, emitter, clock }: Base) {
  const writeRecord: CustodyParts['tell'] = (point, fields, { run: id, tenant, actor }) => {
    record.append({ ...recordEvent(point, fields, actor, clock), run: id }, tenant)
    emitter.emit(point, fields, { run: id, actor })
  }
  const now = () => clock.date()
  const bases = openMemoryBases(options.config.state, { now })
  const custody = createCustody({ bodies: () => record.bodies, bases, now, tell: writeRecord })
  const bundles = new Map<string, string>()
  const keep: KeepCapture = async (of, capture) => {
    const parts = await custody.keep(of, capture)
    if (parts[0]) bundles.set(of.run, captureOf(parts[0]))
    return parts
  }
  const takeBundle = (run: string): string | undefined => {
    const name = bundles.get(run)
    bundles.delete(run)
    return name
  }
  const { evidence } = custody
  return { keep, takeBundle, evidence, writeRecord, captures: createMutex() }
}

function openEffects(
  { options, clock, emitter, record }: Base,
  { analyse, plan }: Pick<Parameters<typeof createEffects>[0], 'analyse' | 'plan'>,
): { readonly calls: Effects; close(): void } {
  let store: EffectStore | undefined
  const effects = createEffects({
    store: () => (store ??= openEffectStore(join(options.config.state, 'effects.db'))),
    clock,
    analyse,
    plan,
    audit({ tenant, principal }, facts) {
      const fields = { ...facts }
      record.append(recordEvent('threat/audited', fields, principal, clock), tenant)
      emitter.emit('threat/audited', fields, { actor: principal })
    },
  })
  return { calls: withRegistrationEvents(effects, emitter, clock), close: () => store?.close() }
}

function provedCalls(
  { config }: Base,
  walls: ProvedWalls,
  ahead: HeadStart,
  modules: ProviderModules | undefined,
): Pick<
  Assembly,
  'providers' | 'walls' | 'proved' | 'unproved' | 'unavailable' | 'refused' | 'add'
> {
  return {
    async providers() {
      await ahead.proved()
      await Promise.all([walls.proveAll(), modules?.settle()])
      return walls.listed
    },
    async walls() {
      await ahead.proved()
      return walls.proved
    },
    unavailable: () => unavailableNames(config(), walls),
    refused: () => walls.refused,
    proved: () => walls.proved,
    unproved: () => walls.unproved,
    add: (provider) => walls.add(provider),
  }
}

/** Writes the record's line first: a change that cannot be recorded does not take effect. */
function overrides(
  { config, replaceConfig, record, emitter, clock }: Base,
  walls: ProvedWalls,
  ahead: HeadStart,
): Pick<Assembly, 'override' | 'change'> {
  const override: Assembly['override'] = (patch, by) => {
    const next = overrideConfig(config(), patch, {
      allowWidening: by.mayWiden,
      prefersWeaker: (now, preferred) => prefersWeaker(now, preferred, walls.facts),
    })
    const fields = { principal: by.principal, keys: Object.keys(patch) }
    record.append(recordEvent('config/overridden', fields, by.principal, clock))
    replaceConfig(next)
    emitter.emit('config/overridden', fields, { actor: by.principal })
    return next
  }
  return {
    override,
    async change(patch, by) {
      const name = patch.default_provider
      if (name !== undefined) await ahead.proved()
      if (name !== undefined && name !== 'auto') await walls.mustServe(name)
      return override(patch, by)
    },
  }
}
