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
import { assigned } from '../zones/carve.ts'

/** How code is to be run: the fields of a job without its code, whose it is, and which instance. */
export interface ExecutionInfo extends Omit<JobRequest, 'code' | 'calls'> {
  readonly tenant?: string
  readonly principal?: string
  /** Its owner's name for it: from its second execution on, its zones come from the first. */
  readonly instanceId?: string
  /** Aborting it cancels the execution. */
  readonly signal?: AbortSignal
}

export interface MonitorOptions {
  /** Hears each line of the timeline as it is written, those before it was asked for too. */
  readonly on?: (entry: TimelineEntry) => void
}

/** A zone as it was planned, or by its name: those of programs are only known once they begin. */
export type ZoneName = Pick<TemporalZone, 'id' | 'execution'>

interface Execution {
  readonly tenant: string
  readonly principal: string
  readonly outcome: Promise<Outcome>
  readonly timeline: TimelineEntry[]
  readonly listeners: Set<(entry: TimelineEntry) => void>
}

/** Executions that are remembered, those that are over too. */
const executionsMax = 1000
/** Lines that are kept for who comes late. */
const linesMax = 1000

/** Code in zones, step by step or all at once: every part of it asks the same road. */
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
    return assigned(code, { zones: analysis.split.zones.filter(({ name }) => names.has(name)) })
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
    // Whoever monitors hears of it; where nobody does, it is in the record.
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
