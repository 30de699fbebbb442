import type { Assembly } from '../assemble/assemble.ts'
import { systemClock } from '../contract/clock.ts'
import { MayflyError } from '../contract/error.ts'
import { noFiles, noNetwork, type Controls } from '../contract/controls.ts'
import type { TimelineEntry } from '../contract/event.ts'
import type { Job } from '../contract/job.ts'
import type { Tightened, ZoneEnded } from '../contract/live.ts'
import type { Outcome } from '../contract/outcome.ts'
import type { RiskAnalysis, TemporalZone, ZoneCode } from '../contract/zones.ts'
import { newJob } from '../job.ts'
import { unheeded } from '../lib/unheeded.ts'
import { zoneSources } from '../zones/carve.ts'
import { assertKnownOptions } from './known-options.ts'
import type { CodeAssignment, ExecutionInfo, MonitorOptions, ZoneName } from './zone-calls.ts'

interface Execution {
  readonly tenant: string
  readonly principal: string
  readonly outcome: Promise<Outcome>
  readonly timeline: TimelineEntry[]
  /** Zones in which an anomaly was found; apart from the timeline, which is cut. */
  readonly anomalous: Set<string>
  readonly listeners: Set<(entry: TimelineEntry) => void>
}

/** Origin of zones that were planned. */
interface ZonePlan {
  readonly code: string
  readonly info: ExecutionInfo
  readonly analysis: RiskAnalysis
  hasCode: boolean
  /** Id, once it began. */
  execution: string | undefined
}

/** Controls of an order without controls: they take all ways out of a zone. */
const tightest: Partial<Controls> = { network: noNetwork, files: noFiles, capabilities: [] }

/** Executions remembered, ended ones included. */
const executionsMax = 1000
/** Timeline entries stored for late subscribers. */
const linesMax = 1000

/** Zone API of the SDK: every call uses the same pipeline. */
export class ZoneCalls {
  readonly #assembly: Pick<Assembly, 'partition' | 'run' | 'operations'>
  readonly #executions = new Map<string, Execution>()
  readonly #codeOf = new WeakMap<RiskAnalysis, string>()
  readonly #plans = new WeakMap<ZoneName, ZonePlan>()

  constructor(assembly: Pick<Assembly, 'partition' | 'run' | 'operations'>) {
    this.#assembly = assembly
  }

  async analyzeCode(code: string, info: ExecutionInfo = {}): Promise<RiskAnalysis> {
    const { instanceId: _, ...rest } = info
    const { risk } = await this.#assembly.partition(jobOf(code, rest))
    this.#codeOf.set(risk, code)
    return risk
  }

  async createTemporalZones(
    given: string | RiskAnalysis,
    info: ExecutionInfo = {},
  ): Promise<readonly TemporalZone[]> {
    const code = typeof given === 'string' ? given : this.#codeOf.get(given)
    if (code === undefined)
      throw new MayflyError('INVALID', 'Cannot plan zones: no code was analysed here for this')
    const { risk: analysis, zones } = await this.#assembly.partition(jobOf(code, info))
    const planned = zones.map((zone) => ({ ...zone, execution: null }))
    const plan: ZonePlan = { code, info, analysis, hasCode: false, execution: undefined }
    for (const zone of planned) this.#plans.set(zone, plan)
    return planned
  }

  assignCodeToZones(...[code, ...given]: CodeAssignment): readonly ZoneCode[] {
    const [zones, ofAnalysis] = given.length === 1 ? given : [given[1], given[0]]
    const plan = this.#planOf(zones)
    const known = ofAnalysis ? this.#codeOf.get(ofAnalysis) : plan?.code
    const analysis = known === code ? (ofAnalysis ?? plan?.analysis) : undefined
    if (!analysis) {
      const what = ofAnalysis ? 'this analysis is' : 'these zones were planned'
      throw new MayflyError('INVALID', `Cannot assign code: ${what} for another`)
    }
    if (plan?.code === code) plan.hasCode = true
    const names = new Set(zones.map(({ id }) => id))
    return zoneSources(code, { zones: analysis.split.zones.filter(({ name }) => names.has(name)) })
  }

  async initializeExecution(
    code: string,
    info: ExecutionInfo = {},
  ): Promise<readonly TemporalZone[]> {
    const job = jobOf(code, info)
    const { zones } = await this.#assembly.partition(job)
    this.#begin(job, info)
    return zones
  }

  #begin(job: Job, { signal = never }: ExecutionInfo): void {
    const timeline: TimelineEntry[] = []
    const anomalous = new Set<string>()
    const listeners: Execution['listeners'] = new Set()
    const on = (entry: TimelineEntry) => {
      if (entry.event === 'anomaly' && anomalous.size < linesMax) anomalous.add(entry.zone)
      if (timeline.length < linesMax) timeline.push(entry)
      // An error of a listener is not one of the execution.
      for (const listener of listeners) unheeded(() => listener(entry))
    }
    const outcome = this.#assembly.run(job, { signal, on })
    // Avoids an unhandled rejection: `monitorZones` reports it, and the audit log has it.
    outcome.catch(() => undefined)
    const { tenant, principal } = job
    this.#executions.set(job.id, { tenant, principal, outcome, timeline, anomalous, listeners })
    for (const oldest of this.#executions.keys()) {
      if (this.#executions.size <= executionsMax) break
      this.#executions.delete(oldest)
    }
  }

  async monitorZones(zones: readonly ZoneName[], options: MonitorOptions = {}): Promise<Outcome> {
    assertKnownOptions(options, { on: 'function' })
    const { on } = options
    this.#beginPlanned(zones)
    const { execution } = this.#executionOf(zones[0])
    if (on) {
      for (const entry of execution.timeline) unheeded(() => on(entry))
      execution.listeners.add(on)
    }
    try {
      return await execution.outcome
    } finally {
      if (on) execution.listeners.delete(on)
    }
  }

  /** Runs planned zones once they have their code: nobody could monitor them otherwise. */
  #beginPlanned(zones: readonly ZoneName[]): void {
    const plan = this.#planOf(zones)
    if (!plan?.hasCode || plan.execution !== undefined) return
    const job = jobOf(plan.code, plan.info)
    plan.execution = job.id
    this.#begin(job, plan.info)
  }

  #planOf([first]: readonly ZoneName[]): ZonePlan | undefined {
    return first && this.#plans.get(first)
  }

  /** True once an anomaly was found in the zone. */
  detectAnomaly(zone: ZoneName): boolean {
    return this.#executionOf(zone).execution.anomalous.has(zone.id)
  }

  async tightenPolicy(zone: ZoneName, controls: Partial<Controls> = tightest): Promise<Tightened> {
    const { id, by } = this.#executionOf(zone)
    return await this.#assembly.operations.tighten(id, { controls, zone: zone.id }, by)
  }

  async terminateZone(zone: ZoneName): Promise<ZoneEnded> {
    const { id, by } = this.#executionOf(zone)
    return await this.#assembly.operations.endZone(id, zone.id, by)
  }

  #executionOf(zone: ZoneName | undefined) {
    const id = zone?.execution ?? (zone && this.#plans.get(zone)?.execution)
    const execution = id === undefined ? undefined : this.#executions.get(id)
    if (id === undefined || !execution)
      throw new MayflyError('NOT_FOUND', 'Cannot find the execution of these zones')
    const { tenant, principal } = execution
    return { id, execution, by: { tenant, principal } }
  }
}

function jobOf(code: string, info: ExecutionInfo) {
  const { tenant = 'default', principal = 'library', instanceId: instance, signal, ...rest } = info
  assertKnownOptions({ signal, principal }, { signal: 'signal', principal: 'text' })
  const isName = typeof instance === 'string' && instance !== '' && instance.length <= nameUnitsMax
  if (instance !== undefined && !isName)
    throw new MayflyError(
      'INVALID',
      `Cannot use "instanceId": expected a text of 1 to ${nameUnitsMax} characters`,
    )
  const zones = instance === undefined ? {} : { instance }
  return newJob({ ...rest, code }, { tenant, principal, origin: 'library', zones }, systemClock)
}

/** As over HTTP. */
const nameUnitsMax = 200
const never = new AbortController().signal
