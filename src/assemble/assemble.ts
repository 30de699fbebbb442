/**
 * From configuration to wired parts. The only file that names concrete providers, stores and sinks; everybody else
 * is handed what they use.
 */
import os from 'node:os'
import { join } from 'node:path'
import { answerCalls } from '../capabilities/answer.ts'
import { systemClock, type Clock } from '../contract/clock.ts'
import { overrideConfig } from '../config/override.ts'
import type { Config, OverrideInput } from '../contract/config.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { Event, Point, Sink, Emitter } from '../contract/event.ts'
import type { Evidence } from '../contract/evidence.ts'
import type { Job, Language } from '../contract/job.ts'
import type { Outcome } from '../contract/outcome.ts'
import type { Operations } from '../contract/live.ts'
import type { Profile } from '../contract/profile.ts'
import type { Availability, Provider, Sandbox } from '../contract/provider.ts'
import type { Rooms } from '../contract/pipeline.ts'
import type { RiskAnalysis, ZoneSplit, TemporalZone } from '../contract/zones.ts'
import { createEffects, type Effects } from '../effects/effects.ts'
import { spoken } from '../effects/spoken.ts'
import { openEffectStore, type EffectStore } from '../effects/store.ts'
import type { Accounts } from '../egress/account.ts'
import type { Authority } from '../egress/authority.ts'
import { credentialsFrom } from '../egress/held.ts'
import { createCustody, type CustodyParts } from '../evidence/custody.ts'
import { openRecord, type AuditRecord } from '../evidence/record.ts'
import { addressesFor } from '../egress/dns.ts'
import { upstreamFrom } from '../egress/upstream.ts'
import type { WayOutParts } from '../egress/way-out.ts'
import { createHistory } from '../history/history.ts'
import { keepInterrupted } from '../history/interrupted.ts'
import { newJob } from '../job.ts'
import { live, type Caller } from '../life.ts'
import { createGate } from '../output/gate.ts'
import { compileSchema } from '../output/schema.ts'
import type { Budget } from '../pool/admit.ts'
import { codeOfLayers } from '../packages/code.ts'
import { budgetFor, createPool, type Beside, type Pool } from '../pool/pool.ts'
import { createResultCache } from '../pool/result-cache.ts'
import { createStock, type Stock } from '../pool/stock.ts'
import { createProfiler } from '../profile/make-profile.ts'
import type { ProviderFacts } from '../profile/choose-tier.ts'
import { withinSignature } from '../profile/within-signature.ts'
import { withShadow } from '../shadow.ts'
import { createCounters, type Counts } from '../telemetry/counters.ts'
import { createVoice } from '../telemetry/voice.ts'
import { openWebhooks } from '../telemetry/webhooks/open.ts'
import { openBaselineStore, type BaselineStore } from '../watch/baseline-store.ts'
import { createGuard, type Guard } from '../watch/guard.ts'
import { openStrongerStore, type StrongerStore } from '../watch/stronger-store.ts'
import { createMutex } from '../lib/mutex.ts'
import { createOperating } from '../operate/operate.ts'
import { overhear } from '../watch/overhear.ts'
import { supervise } from '../lives/supervise.ts'
import { besideOf } from '../zones/grant.ts'
import { narrowed, subjectOf, type Instance } from '../zones/history.ts'
import { overZones } from '../zones/over.ts'
import { analysisOf, zonesOf } from '../zones/plan.ts'
import { withZones } from '../zones/provider.ts'
import { createAnalyst, type CachedAnalysis } from '../threat/analyse.ts'
import { createAnalysisClient, type AnalysisClient } from '../threat/analysis-client.ts'
import { analyseSigned, refusalOf } from '../threat/signed.ts'
import { openSigners } from '../threat/signers.ts'
import { createVerifier } from '../threat/verify-job.ts'
import type { IsolateOptions } from '../tiers/isolated-vm/provider.ts'
import type { ProcessOptions } from '../tiers/process/provider.ts'
import { strengthOf, type TierName } from '../contract/tier.ts'
import { jailKinds, type JailKind } from '../contract/jail-kind.ts'
import type { WardenClient } from '../walls/client.ts'
import type { OpenFolders } from '../walls/folder-calls.ts'
import type { OpenWayOut } from '../walls/exit.ts'

export interface AssembleOptions {
  readonly config: Config
  readonly warden: WardenClient
  /** One short-lived run keeps no spares; a server does. */
  readonly kind: 'server' | 'library' | 'once'
  readonly sinks?: readonly Sink[]
  /** Providers of somebody else; their code is trusted and runs here. */
  readonly providers?: readonly Provider[]
  readonly clock?: Clock
  /** Where layers of packages are; without it there are none. */
  readonly layerFolder?: string | undefined
  /** For tests: servers of their own that stand for the world outside. */
  readonly dial?: WayOutParts['dial'] | undefined
  /** For tests: bytes that jobs may hold together, in place of a share of this machine's. */
  readonly budget?: Pick<Budget, 'memory'>
}

export interface Assembly extends AsyncDisposable {
  readonly config: Config
  readonly clock: Clock
  readonly voice: Emitter
  readonly record: AuditRecord
  readonly pool: Pool
  /** What is kept ready, and what it costs. */
  readonly stock: Pick<Stock, 'facts'>
  readonly analysis: AnalysisClient
  /** The road. Waits for the first proof of the walls. */
  run(job: Job, caller: Caller): Promise<Outcome>
  /**
   * The first steps of the road alone: whose signatures the code has, and what it may do. Runs nothing, and writes
   * nothing down. Throws MayflyError SIGNATURE_INVALID, SIGNER_UNKNOWN or SIGNATURE_REQUIRED, then parsing nothing.
   */
  analyse(job: Job): Promise<CachedAnalysis>
  /**
   * Takes a job's code apart without running it; run, the same job then has these zones. An instance is told by the name
   * that its owner gave it: from its second run on, its zones come from the first. Throws as `analyse` does, and INVALID
   * for code that does not parse.
   */
  partition(job: Job, instanceId?: string): Promise<Partition>
  /** What tenants registered to run by name. */
  readonly effects: Effects
  /** What watches all lives. */
  readonly guard: Guard
  /** Jobs under way, and what an operator can take from them. */
  readonly operations: Operations
  /** What walls had to show, where it is kept. */
  readonly evidence: Evidence
  /** Counts since this was opened; of jobs, those with a line in the record. */
  statistics(): Counts
  /** Each provider with what its probe proved; probes what was not probed yet. */
  providers(): Promise<readonly ProvedProvider[]>
  /** The walls that this configuration can choose, proved. */
  walls(): Promise<readonly ProvedProvider[]>
  /** Names of those that are proved when a job first needs them. */
  unproved(): readonly string[]
  /** What is proved by now. */
  proved(): readonly ProvedProvider[]
  /** Changes the configuration from the next job on. Narrows freely; widening needs the permission. Throws MayflyError. */
  override(
    patch: OverrideInput,
    by: { readonly principal: string; readonly mayWiden: boolean },
  ): Config
  /**
   * The same once the walls are there: a default provider that the patch names must be known, and proved here. Throws
   * MayflyError INVALID when it is not.
   */
  change(
    patch: OverrideInput,
    by: { readonly principal: string; readonly mayWiden: boolean },
  ): Promise<Config>
  /** Ports that this Mayfly listens on, as soon as it does: nothing in a wall is let out to them. */
  closePorts(ports: readonly number[]): void
  /** Loads a provider while running: listed, and chosen from the next job on. */
  add(provider: Provider): Promise<Availability>
}

/** What a job's code is made of: the places worth a look, and the zones that it gets. */
export interface Partition {
  readonly risk: RiskAnalysis
  readonly zones: readonly TemporalZone[]
}

export interface ProvedProvider {
  readonly provider: Provider
  readonly availability: Availability
}

/** Below this much memory one unbound worker is kept, and no other spare. */
const SMALL_MACHINE_BYTES = 2 ** 30
const SPARES = 8

/** Opens the record and starts proving walls; nothing here waits for them. */
export function assemble(options: AssembleOptions): Assembly {
  const { warden, kind, clock = systemClock } = options
  const counters = createCounters()
  const sinks: Sink[] = [counters.sink, ...(options.sinks ?? [])]
  const voice = createVoice({ clock, sinks })
  const record = openRecord({
    stateFolder: options.config.state,
    clock,
    voice,
    signer: { checkpoint: (digests, from) => warden.sign(digests, from) },
  })
  sinks.push(record.sink)
  closeDead(record, clock)
  warden.onSentinel(({ isOn, ...fields }) =>
    voice.say(isOn ? 'sentinel/returned' : 'sentinel/lost', isOn ? {} : fields, {
      actor: 'warden',
    }),
  )

  const { port } = options.config.server
  const ownPorts = new Set(port === 0 ? [] : [port, port + 1])
  const cores = os.availableParallelism()
  const { jobs, queue_wait: waitMsMax } = options.config.server
  const budget = {
    ...budgetFor({ jobs, waitMsMax }),
    ...options.budget,
    isOneAlone: kind === 'once',
  }
  const analysis = createAnalysisClient({ warden, voice, atOnce: cores, once: kind === 'once' })
  const isFrugal = kind === 'once' || os.totalmem() < SMALL_MACHINE_BYTES
  const spares = isFrugal ? 0 : SPARES
  const stock = createStock(clock, voice)
  const loaders = loadersOf(options, {
    voice,
    spares,
    wallsMax: budget.runnable + 1,
    keepReady: kind !== 'once',
    warm: (kind) => stock.warm(kind),
    most: isFrugal ? 0 : budget.runnable,
    openWayOut: waysOut(options.config, voice, {
      dial: options.dial,
      ownPorts: () => ownPorts,
      heed: (run) => guard.hearing(run),
    }),
    openFolders: foldersFor(voice, options.config.state),
  })
  const known = new Map((options.providers ?? []).map((one) => [one.name, one]))
  const proofs = new Map<string, Availability>()
  let facts: readonly ProviderFacts[] = []
  let config = options.config

  /** A provider is loaded when it is first needed; until then not one file of it is opened. */
  async function load(name: string): Promise<Provider | undefined> {
    const provider = known.get(name) ?? (await loaders.get(name)?.())
    if (provider && !known.has(name)) known.set(name, provider)
    return known.get(name)
  }

  async function prove(provider: Provider): Promise<Availability> {
    const availability = await provider.detect()
    known.set(provider.name, provider)
    proofs.set(provider.name, availability)
    const places = [...loaders.keys()]
    facts = [...known.values()].flatMap((one) =>
      factsOf(one, proofs.get(one.name), places.indexOf(one.name)),
    )
    const fields = availability.available
      ? { layers: availability.layers }
      : { reason: availability.reason }
    voice.say(availability.available ? 'tier/proved' : 'tier/unavailable', {
      provider: provider.name,
      ...fields,
    })
    return availability
  }

  const provings = new Map<string, Promise<void>>()

  /** Once each, also when two jobs are the first to ask. */
  async function proveNamed(name: string): Promise<void> {
    if (!loaders.has(name) && !known.has(name)) return
    if (!provings.has(name)) provings.set(name, proveNow(name))
    await provings.get(name)
  }

  async function proveNow(name: string): Promise<void> {
    const provider = await load(name)
    if (provider && !proofs.has(name)) await prove(provider)
  }

  const wanted = [...loaders.keys(), ...known.keys()].filter((name) => canBeChosen(name, config))
  const proving = Promise.all(wanted.map(proveNamed))
  if (kind === 'server') void proving.then(() => proveWays())

  /** The stronger way is enough: the other is proved when somebody names it, or lists them all. */
  async function proveWays(): Promise<void> {
    for (const way of jailKinds) {
      await proveNamed(way)
      if (proofs.get(way)?.available) return
    }
  }

  /** A wall that nobody proved yet may be the one that a job needs: cheap ones first, until one will do. */
  async function proveUntil(
    language: Language,
    isServed: (next: string) => boolean,
  ): Promise<void> {
    for (const name of loaders.keys()) {
      if (proofs.has(name) || !mayServe(name, language)) continue
      if (isServed(name)) return
      await proveNamed(name)
    }
  }

  const warming = analysis.ready().catch(() => undefined)
  const pool = createPool({
    clock,
    voice,
    budget,
    stock,
    provider: (name) => known.get(name),
    loads: () => warden.loads(),
  })

  const cache = createResultCache({ clock, voice, bounds: () => config.cache })

  const zoned = new WeakSet<Job>()
  const splits = new WeakMap<Job, ZoneSplit>()
  const instances = new WeakMap<Job, string>()
  const learners = new Map<string, Instance>()
  const analyst = createAnalyst({
    ask: (tenant, text) => analysis.ask(tenant, text),
    voice,
    zones: (job) => zoned.has(job) || hasZones(config),
    layers: codeOfLayers(() => options.layerFolder),
  })
  const verify = createVerifier({
    config: () => config,
    signers: openSigners(config.state),
    date: () => clock.date(),
  })
  const analyse = analyseSigned(analyst)
  let baselines: BaselineStore | undefined
  const baselinesHere = () =>
    (baselines ??= openBaselineStore(join(options.config.state, 'baselines.db')))
  const pastOf = (instance: Instance) => baselinesHere().past(subjectOf(instance))
  let stronger: StrongerStore | undefined
  const webhooks = openWebhooks({
    config,
    path: join(config.state, 'webhooks.db'),
    clock,
    voice,
    publicAddresses: (host, port) => addressesFor({ scheme: 'https', host, port }, {}),
  })
  const guard = createGuard({
    clock,
    voice,
    config: () => config,
    baselines: baselinesHere,
    stronger: () => (stronger ??= openStrongerStore(join(options.config.state, 'stronger.db'))),
    notify: webhooks && ((told) => webhooks.tell(told)),
  })
  voice.listen(guard.watching.sink)
  const overhearing = overhear()
  voice.listen(overhearing.sink)
  /** The line comes first: what cannot be written down is not said, and not given. */
  const writeDown: CustodyParts['tell'] = (point, fields, { run, tenant, actor }) => {
    record.append({ ...eventOf(point, fields, actor, clock), run }, tenant)
    voice.say(point, fields, { run, actor })
  }
  const { keep, evidence } = createCustody({
    bodies: () => record.bodies,
    now: () => clock.date(),
    tell: writeDown,
  })
  const mutex = createMutex()
  const operating = createOperating({ keep, mutex, tell: writeDown })
  const abilitiesOf = (sandbox: Sandbox) => {
    const { tightens = [], can = [] } = known.get(sandbox.provider) ?? {}
    return { tightens: sandbox.tightens ?? tightens, can }
  }
  const profile = createProfiler({
    config: () => config,
    providers: () => facts,
    raised: (job, verdict) => guard.floorFor(job, verdict),
  })
  const rooms: Rooms = {
    clock,
    verify,
    async analyse(job, signed) {
      const analysis = withPast(job, await analyse(job, signed))
      const { verdict } = analysis
      // A wall that was not proved yet may be the one that another would stand in for.
      const isServed = (next: string) => {
        const plan = profile(job, verdict)
        if (plan.kind !== 'run') return plan.kind !== 'unavailable'
        return !plan.standsIn || isNoStronger(next, plan.standsIn.taken)
      }
      await proveUntil(verdict.language, isServed)
      if (analysis.kind === 'verdict' && analysis.split) splits.set(job, analysis.split)
      return analysis
    },
    profile: (job, verdict, signed) => withinSignature(profile(job, verdict), signed),
    recall: (job, profile, asker, run) => cache.recall(job, profile, asker, run),
    acquire: (profile, job, signal) =>
      pool.acquire(profile, job, signal, wallsBeside(profile, job)),
    supervise: (sandbox, profile, { signal, on }) =>
      operating.over({ sandbox, profile, clock, on, can: abilitiesOf(sandbox) }, (hear) =>
        overZones({ sandbox, clock, on: hear, learn }, (told) =>
          guard.over(
            overhearing.over(
              supervise({
                sandbox,
                profile,
                clock,
                voice,
                signal,
                on: told,
                keep,
                mutex,
                mayCapture: (run) => guard.mayCapture(run),
              }),
            ),
          ),
        ),
      ),
    behaviorScore: ({ id }) => guard.watching.seen(id).behaviorScore,
    answer: (job, { signal }) =>
      answerCalls((capability, asked, over) => {
        const { tenant, principal, traceparent } = job
        const trace = traceparent === undefined ? {} : { traceparent }
        const who = { tenant, principal, origin: 'capability', capability, ...trace } as const
        const caller = { signal: AbortSignal.any([signal, over]) }
        return toItsEnd(newJob(asked, who, clock), caller)
      }),
    gate: createGate,
    admit(job, verdict, plan) {
      const admission = record.admit(job, verdict, plan)
      const { tenant, origin, traceparent } = job
      const trace = traceparent === undefined ? {} : { traceparent }
      voice.say('job/admitted', { tenant, origin, ...trace }, { run: job.id })
      if (plan.kind === 'run' && plan.standsIn)
        voice.say('tier/stood-in', { ...plan.standsIn, tenant }, { run: job.id })
      guard.begin(job, verdict, plan.profile)
      const instance = instanceOf(job, { verdict })
      if (instance) learners.set(job.id, instance)
      return admission
    },
  }

  /** Zones are walls too: what they may use is used before the job begins. */
  function wallsBeside(profile: Profile, job: Job): Beside | undefined {
    const split = splits.get(job)
    const canSplit = known.get(profile.provider)?.can.includes('zones') && !job.asked.calls
    return split && canSplit ? besideOf(profile, split) : undefined
  }

  /** An instance that ran before gets no more than it used then. */
  function withPast<T extends CachedAnalysis>(job: Job, analysis: T): T {
    const instance = instanceOf(job, analysis)
    const past = instance && pastOf(instance)
    if (!past || analysis.kind !== 'verdict' || !analysis.split) return analysis
    return { ...analysis, split: narrowed(analysis.split, past) }
  }

  function instanceOf(
    job: Job,
    { verdict }: Pick<CachedAnalysis, 'verdict'>,
  ): Instance | undefined {
    const id = instances.get(job)
    return id === undefined ? undefined : { tenant: job.tenant, id, code: verdict.digest }
  }

  const learn = (run: string, called: ReadonlyMap<string, ReadonlySet<string>>) => {
    const instance = learners.get(run)
    if (!instance) return
    try {
      baselinesHere().keepPast(subjectOf(instance), called)
    } catch (thrown) {
      voice.say(
        'baseline/lost',
        { name: `instance:${instance.id}`, because: messageOf(thrown) },
        { run },
      )
    }
  }

  async function partition(job: Job, instanceId?: string): Promise<Partition> {
    zoned.add(job)
    if (instanceId !== undefined) instances.set(job, instanceId)
    await proving
    const analysis = await judge(job)
    if (analysis.kind === 'syntax-error')
      throw new MayflyError('INVALID', `Cannot read the code: ${analysis.message}`, {
        details: [{ path: 'code', ...analysis, verdict: undefined }],
      })
    const planned = withPast(job, analysis)
    const { profile: made } = profile(job, planned.verdict)
    const risk = analysisOf(planned)
    const instance = instanceOf(job, planned)
    const past = instance && pastOf(instance)
    return { risk, zones: zonesOf(made, risk.split, { execution: job.id, past }) }
  }

  /** Down the road, with what is told of its end. */
  async function toItsEnd(job: Job, caller: Caller): Promise<Outcome> {
    const began = clock.now()
    await Promise.all([proving, warming])
    await Promise.all(provedFor(job).map(proveNamed))
    try {
      const outcome = await live(job, rooms, caller)
      guard.end(job, outcome)
      learners.delete(job.id)
      voice.say('job/ended', endOf(job, outcome, clock.now() - began), { run: job.id })
      return outcome
    } catch (thrown) {
      guard.end(job)
      learners.delete(job.id)
      voice.say('job/unrecorded', lossOf(thrown, clock.now() - began), { run: job.id })
      throw thrown
    }
  }

  async function judge(job: Job): Promise<CachedAnalysis> {
    const signed = verify(job)
    if (signed.kind === 'refused') throw refusalOf(signed)
    await warming
    return analyse(job, signed)
  }

  /** The line comes first: what nobody may be asked about later does not come into force. */
  const override: Assembly['override'] = (patch, by) => {
    const next = overrideConfig(config, patch, { allowWidening: by.mayWiden })
    const fields = { principal: by.principal, keys: Object.keys(patch) }
    record.append(eventOf('config/overridden', fields, by.principal, clock))
    config = next
    voice.say('config/overridden', fields, { actor: by.principal })
    return config
  }

  /** Throws MayflyError INVALID unless this provider can be the default from the next job on. */
  async function mustServe(name: string): Promise<void> {
    if (!loaders.has(name) && !known.has(name)) throw notServing(name, 'there is none of this name')
    await proving
    await proveNamed(name)
    const proof = proofs.get(name)
    if (!proof?.available) throw notServing(name, proof?.reason ?? 'it is not there')
  }

  let effectStore: EffectStore | undefined
  const effects = createEffects({
    store: () => (effectStore ??= openEffectStore(join(options.config.state, 'effects.db'))),
    clock,
    analyse: judge,
    plan: profile,
    audit({ tenant, principal }, facts) {
      const fields = { ...facts }
      record.append(eventOf('threat/audited', fields, principal, clock), tenant)
      voice.say('threat/audited', fields, { actor: principal })
    },
  })

  return {
    get config() {
      return config
    },
    clock,
    voice,
    record,
    pool,
    stock,
    analysis,
    async run(job, caller) {
      if (job.asked.output.schema) compileSchema(job.asked.output.schema)
      const outcome = await toItsEnd(job, caller)
      const { shadow } = job.asked
      if (shadow === undefined) return outcome
      const road = (second: Job) => toItsEnd(second, { signal: caller.signal })
      const tell = (fields: Event['fields']) => {
        record.append(
          { ...eventOf('shadow/compared', fields, 'shadow', clock), run: job.id },
          job.tenant,
        )
        voice.say('shadow/compared', fields, { run: job.id })
      }
      return await withShadow(job, shadow, outcome, { road, tell, date: () => clock.date() })
    },
    analyse: judge,
    partition,
    effects: spoken(effects, voice, clock),
    guard,
    operations: operating.operations,
    evidence,
    statistics: () => counters.read(),
    async providers() {
      await proving
      for (const name of [...loaders.keys(), ...known.keys()]) await proveNamed(name)
      return provedOf(known, proofs)
    },
    async walls() {
      await proving
      return provedOf(known, proofs)
    },
    proved: () => provedOf(known, proofs),
    unproved: () => [...loaders.keys()].filter((name) => name !== 'mock' && !proofs.has(name)),
    override,
    closePorts: (ports) => ports.forEach((one) => ownPorts.add(one)),
    async change(patch, by) {
      const name = patch.default_provider
      if (name !== undefined && name !== 'auto') await mustServe(name)
      return override(patch, by)
    },
    async add(provider) {
      // Known once it is proved: until then nothing is chosen for it, and nothing launched on it.
      const availability = await prove(provider)
      provings.set(provider.name, Promise.resolve())
      return availability
    },
    async [Symbol.asyncDispose]() {
      await proving.catch(() => undefined)
      const closing = [...known.values()].map(async (one) => await one.close?.())
      const own = [analysis.close(), record.close(), webhooks?.close()]
      const closed = await Promise.allSettled([...closing, ...own])
      effectStore?.close()
      baselines?.close()
      stronger?.close()
      // Whoever could not close keeps no wall alive.
      await warden.close()
      for (const one of closed) if (one.status === 'rejected') throw one.reason
    },
  }
}

/** What cannot be kept now, on a disk that is full, is told of by the record alone. */
function closeDead(record: AuditRecord, clock: Clock): void {
  const history = createHistory(
    () => record.bodies,
    () => clock.date(),
  )
  record.closeDead((line) => {
    try {
      keepInterrupted(history, line)
    } catch {
      // Its line is closed, and that is what counts.
    }
  })
}

/** Whether some schedule gives parts of a program a life of their own. */
function hasZones({ schedules }: Config): boolean {
  return Object.values(schedules).some(({ zones }) =>
    Object.values(zones).some(({ program }) => program === undefined),
  )
}

/** An event as its line is written, ahead of the stream that numbers it. */
function eventOf(point: Point, fields: Event['fields'], actor: string, clock: Clock): Event {
  const at = clock.date()
  return { format: 1, seq: 0, at, run: null, zone: 'main', point, actor, trust: 'host', fields }
}

function notServing(name: string, reason: string): MayflyError {
  return new MayflyError('INVALID', `Cannot make "${name}" the default provider: ${reason}`, {
    details: [{ path: 'default_provider', message: reason }],
  })
}

/** What is told of an end: names and milliseconds. The code of an error that the guest threw is the guest's word. */
function endOf(job: Job, outcome: Outcome, took: number): Record<string, unknown> {
  const { status, tier = null, provider = null, error, security, metrics } = outcome
  const { queueTime, startTime, executionTime, teardownTime, cpuTime } = metrics
  const { effectId } = job.asked
  return {
    status,
    tier,
    provider,
    ...(error && (status !== 'error' || error.code === 'SYNTAX_ERROR') && { code: error.code }),
    ...(effectId !== undefined && { effectId }),
    took,
    queueTime,
    startTime,
    executionTime,
    teardownTime,
    cpuTime,
    behaviorScore: security.behaviorScore,
  }
}

function lossOf(thrown: unknown, took: number): Record<string, unknown> {
  return { code: thrown instanceof MayflyError ? thrown.code : 'INTERNAL', took }
}

/** Nothing of it is loaded until a job is granted a network. */
function waysOut(
  { credentials, egress }: Config,
  voice: Emitter,
  {
    dial,
    heed,
    ownPorts,
  }: Pick<AssembleOptions, 'dial'> & {
    readonly ownPorts: () => ReadonlySet<number>
    readonly heed: (run: string) => ((piece: Buffer) => boolean) | undefined
  },
): OpenWayOut {
  const held = credentialsFrom(credentials, process.env)
  const upstream = upstreamFrom(egress, process.env)
  let authority: Authority | undefined
  let accounts: Accounts | undefined
  return async (controls, run, { zone, privateHosts } = {}) => {
    const [{ openWayOut }, { makeAuthority }, { Accounts }] = await Promise.all([
      import('../egress/way-out.ts'),
      import('../egress/authority.ts'),
      import('../egress/account.ts'),
    ])
    accounts ??= new Accounts()
    authority ??= makeAuthority(() => Date.now())
    const own = { heed: () => heed(run), ...(dial && { dial }) }
    const of = { run, zone, accounts, privateHosts, ownPorts, upstream }
    return openWayOut({ controls, ...of, voice, credentials: held, authority, ...own })
  }
}

/** Nothing of it is loaded until a job is granted a folder. */
function foldersFor(voice: Emitter, state: string): OpenFolders {
  return async (asked) => {
    const { openFolders } = await import('../folders/open.ts')
    return openFolders({ ...asked, voice, closed: [state, `${state}-warden`] })
  }
}

/** Mayfly's own, by the names that people choose them by. */
export const providerNames = ['isolated-vm', 'wasi', ...jailKinds, 'mock'] as const

type Loaders = ReadonlyMap<string, () => Promise<Provider>>

/** Every provider of Mayfly's own, by name; of two of a tier that are as strong, the first is taken. */
function loadersOf(
  { warden, config }: AssembleOptions,
  parts: Omit<IsolateOptions, 'warden'> & Pick<ProcessOptions, 'warm' | 'most' | 'openWayOut'>,
): Loaders {
  const byWay = (way: JailKind) => async () => {
    const { createProcessProvider } = await import('../tiers/process/provider.ts')
    return createProcessProvider({ way, warden, ...parts, least: 0 })
  }
  return new Map([
    [
      'isolated-vm',
      async () => {
        const { createIsolateProvider } = await import('../tiers/isolated-vm/provider.ts')
        return withZones(createIsolateProvider({ warden, ...parts }))
      },
    ],
    [
      'wasi',
      async () => {
        const { createWasiProvider } = await import('../tiers/wasi/provider.ts')
        return createWasiProvider({ warden, ...parts })
      },
    ],
    ...jailKinds.map((way) => [way, byWay(way)] as const),
    [
      'mock',
      async () => {
        const { createMockProvider } = await import('../tiers/mock/provider.ts')
        return createMockProvider({ environment: config.environment })
      },
    ],
  ])
}

/** Walls that serve few jobs: each is loaded, started and proved when the first of those comes. */
const onDemand: ReadonlySet<string> = new Set(['mock', 'wasi', ...jailKinds])

/** The most that a wall of this technology can be. Of one that is not named here, nothing is known before its proof. */
const tierOf: Readonly<Record<string, TierName>> = {
  'isolated-vm': 'isolate',
  wasi: 'wasm',
  ...Object.fromEntries(jailKinds.map((way) => [way, 'process'] as const)),
}

function isNoStronger(name: string, tier: TierName): boolean {
  const own = tierOf[name]
  return own !== undefined && strengthOf[own] <= strengthOf[tier]
}

/** Nothing is proved for a job that it could not run; the mock is reached by its name alone. */
function mayServe(name: string, language: Language): boolean {
  return name !== 'mock' && (name === 'wasi') === (language === 'wasm')
}

/** Walls that are proved from the start. */
function canBeChosen(name: string, config: Config): boolean {
  return !onDemand.has(name) || config.default_provider === name
}

/** The walls that a job names, by themselves, by their tier or by their language. */
function provedFor({ asked }: Job): readonly string[] {
  const isWasm = asked.language === 'wasm' || asked.tier === 'wasm'
  return [...(asked.provider ? [asked.provider] : []), ...(isWasm ? ['wasi'] : [])]
}

/** `place`: among Mayfly's own, below zero for somebody else's. */
function factsOf(
  provider: Provider,
  availability: Availability | undefined,
  place: number,
): ProviderFacts[] {
  if (!availability) return []
  const { name, tier, languages, can, enforces, isByNameAlone = false } = provider
  const { available } = availability
  const told = { name, tier, languages, can, enforces, isByNameAlone }
  const common = { ...told, available, ...(place >= 0 && { place }) }
  if (!availability.available) return [{ ...common, strength: 0, reason: availability.reason }]
  const { strength, layers, missing, cost } = availability
  const proved = { strength, layers: layers.length, missing: missing.length }
  return [{ ...common, ...proved, ...(cost && { cost }) }]
}

function provedOf(
  known: ReadonlyMap<string, Provider>,
  proofs: ReadonlyMap<string, Availability>,
): readonly ProvedProvider[] {
  return [...known.values()].flatMap((provider) => {
    const availability = proofs.get(provider.name)
    return availability ? [{ provider, availability }] : []
  })
}

/** The analysis process alone, for verdicts without a run. */
export function openAnalysis(parts: {
  readonly warden: WardenClient
}): AsyncDisposable & Pick<AnalysisClient, 'ask'> {
  const voice = createVoice({ clock: systemClock, sinks: [] })
  const asking = createAnalysisClient({
    warden: parts.warden,
    voice,
    atOnce: os.availableParallelism(),
    once: false,
    alone: true,
  })
  return {
    ask: (tenant, text) => asking.ask(tenant, text),
    async [Symbol.asyncDispose]() {
      await asking.close()
      await parts.warden.close()
    },
  }
}
