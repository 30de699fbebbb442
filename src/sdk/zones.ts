import type { Assembly } from '../assemble/assemble.ts'
import { systemClock } from '../contract/clock.ts'
import { MayflyError } from '../contract/error.ts'
import type { Controls } from '../contract/controls.ts'
import type { TimelineEntry } from '../contract/event.ts'
import type { JobRequest } from '../contract/job.ts'
import type { Tightened, ZoneEnded } from '../contract/live.ts'
import type { Outcome } from '../contract/outcome.ts'
import type { RiskAnalysis, TemporalZone, ZoneCode } from '../contract/zones.ts'
import { newJob } from '../job.ts'
import { zoneSources } from '../zones/carve.ts'

/** Options of an execution: a job's fields without code, its owner, and its instance. */
export interface ExecutionInfo extends Omit<JobRequest, 'code' | 'calls'> {
  readonly tenant?: string
  readonly principal?: string
  /** Name chosen by the owner: from the second execution on, zones come from the first one's profile. */
  readonly instanceId?: string
  /** Aborting cancels the execution. */
  readonly signal?: AbortSignal
}

export interface MonitorOptions {
  /** Receives timeline entries, including those before the call. */
  readonly on?: (entry: TimelineEntry) => void
}

/** Zone as planned, or by name: zones of programs are known only once they start. */
export type ZoneName = Pick<TemporalZone, 'id' | 'execution'>

interface Execution {
  readonly tenant: string
  readonly principal: string
  readonly outcome: Promise<Outcome>
  readonly timeline: TimelineEntry[]
  readonly listeners: Set<(entry: TimelineEntry) => void>
}

/** Executions remembered, ended ones included. */
const executionsMax = 1000
/** Timeline entries stored for late subscribers. */
const linesMax = 1000

/** Zone API of the SDK: every call uses the same pipeline. */
export class ZoneCalls {
  readonly #assembly: Pick<Assembly, 'partition' | 'run' | 'operations'>
  readonly #executions = new Map<string, Execution>()

  constructor(assembly: Pick<Assembly, 'partition' | 'run' | 'operations'>) {
    this.#assembly = assembly
  }

  async analyzeCode(code: string, info: ExecutionInfo = {}): Promise<RiskAnalysis> {
    const { instanceId: _, ...rest } = info
    const { risk } = await this.#assembly.partition(jobOf(code, rest))
    return risk
  }

  async createTemporalZones(
    code: string,
    info: ExecutionInfo = {},
  ): Promise<readonly TemporalZone[]> {
    const { zones } = await this.#assembly.partition(jobOf(code, info))
    return zones.map((zone) => ({ ...zone, execution: null }))
  }

  assignCodeToZones(
    code: string,
    analysis: RiskAnalysis,
    zones: readonly TemporalZone[],
  ): readonly ZoneCode[] {
    const names = new Set(zones.map(({ id }) => id))
    return zoneSources(code, { zones: analysis.split.zones.filter(({ name }) => names.has(name)) })
  }

  async initializeExecution(
    code: string,
    info: ExecutionInfo = {},
  ): Promise<readonly TemporalZone[]> {
    const job = jobOf(code, info)
    const { zones } = await this.#assembly.partition(job)
    const { signal = never } = info
    const timeline: TimelineEntry[] = []
    const listeners: Execution['listeners'] = new Set()
    const on = (entry: TimelineEntry) => {
      if (timeline.length < linesMax) timeline.push(entry)
      for (const listener of listeners) listener(entry)
    }
    const outcome = this.#assembly.run(job, { signal, on })
    // Avoids an unhandled rejection: `monitorZones` reports it, and the audit log has it.
    outcome.catch(() => undefined)
    const { tenant, principal } = job
    this.#executions.set(job.id, { tenant, principal, outcome, timeline, listeners })
    for (const oldest of this.#executions.keys()) {
      if (this.#executions.size <= executionsMax) break
      this.#executions.delete(oldest)
    }
    return zones
  }

  async monitorZones(zones: readonly ZoneName[], { on }: MonitorOptions = {}): Promise<Outcome> {
    const { execution } = this.#executionOf(zones[0])
    if (on) {
      for (const entry of execution.timeline) on(entry)
      execution.listeners.add(on)
    }
    try {
      return await execution.outcome
    } finally {
      if (on) execution.listeners.delete(on)
    }
  }

  async tightenPolicy(zone: ZoneName, controls: Partial<Controls>): Promise<Tightened> {
    const { id, by } = this.#executionOf(zone)
    return await this.#assembly.operations.tighten(id, { controls, zone: zone.id }, by)
  }

  async terminateZone(zone: ZoneName): Promise<ZoneEnded> {
    const { id, by } = this.#executionOf(zone)
    return await this.#assembly.operations.endZone(id, zone.id, by)
  }

  #executionOf(zone: ZoneName | undefined) {
    const id = zone?.execution ?? undefined
    const execution = id === undefined ? undefined : this.#executions.get(id)
    if (id === undefined || !execution)
      throw new MayflyError('NOT_FOUND', 'Cannot find the execution of these zones')
    const { tenant, principal } = execution
    return { id, execution, by: { tenant, principal } }
  }
}

function jobOf(code: string, info: ExecutionInfo) {
  const {
    tenant = 'default',
    principal = 'library',
    instanceId: instance,
    signal: _signal,
    ...rest
  } = info
  const zones = instance === undefined ? {} : { instance }
  return newJob({ ...rest, code }, { tenant, principal, origin: 'library', zones }, systemClock)
}

const never = new AbortController().signal
