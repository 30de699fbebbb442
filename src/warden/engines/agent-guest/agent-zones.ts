import { constants } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { AgentMessageOf } from '../../../agent-wire/decode.ts'
import type { AgentZoneLimits } from '../../../agent-wire/encode.ts'
import type { AgentLink } from '../../../agent-wire/agent-link.ts'
import type { ZoneControl } from '../../../contract/engine.ts'
import { MayflyError } from '../../../contract/error.ts'
import { present } from '../../../lib/present.ts'
import type { BoundMechanisms, ZoneReport } from '../../../contract/warden.ts'
import type { ZoneBounds, ZoneRule } from '../../../contract/zone-rules.ts'
import { memoryHit, nestedTooDeep, overByItself, zoneSlackMs } from '../zone-ends.ts'
import { ZoneNames } from '../zone-names.ts'

/**
 * Zones of programs in a guest. Its agent (guest/agent/zones.c) holds each exec, and moves the process into a cgroup of its own before
 * the first instruction of a program that a rule names; the limits are those of the guest's kernel. This host keeps the names, the
 * deadlines and the causes of an end.
 *
 * The host sees no process of a guest, so all of it is the guest's word, and is reported with that trust. A guest that lies gets
 * nothing beyond the bounds of the whole wall, which this host enforces. A zone that the guest does not end in time ends the wall.
 */
export interface AgentZonesParts {
  readonly agent: Pick<AgentLink, 'ask' | 'can' | 'fault' | 'onZone'>
  readonly rules: readonly ZoneRule[]
  readonly report: (report: ZoneReport) => void
  /** True while the guest executes nothing, which its CPU limit does for milliseconds too: a request is answered after that. */
  readonly isPaused: () => boolean
  /** True while the job was frozen by an order: nothing waits for it. */
  readonly isFrozen: () => boolean
  /** Called if a zone does not end. */
  readonly onStuck: () => void
  /** Milliseconds that the guest has to end a zone, while it is not paused; for tests. */
  readonly endMsMax?: number
}

interface LiveAgentZone {
  readonly id: number
  readonly name: string
  readonly rule: ZoneRule
  readonly outer: LiveAgentZone | undefined
  readonly gone: PromiseWithResolvers<void>
  readonly deadline: NodeJS.Timeout
  bounds: ZoneBounds
  isGone: boolean
  /** Cause of its end, if this host ends it. */
  why: string | undefined
}

/** Longest wait for an answer: an emulated guest on a busy machine is slow. */
const ANSWER_MS_MAX = 10_000
const END_MS_MAX = 15_000
const STEP_MS = 100
/** A paused guest answers once it is resumed; the wait ends with the link. */
const LIFE_MS_MAX = 2 ** 31 - 1
const CPU_UNITS = 1000

export class AgentZones implements ZoneControl {
  readonly #parts: AgentZonesParts
  readonly #names = new ZoneNames()
  readonly #zones = new Map<number, LiveAgentZone>()

  /** Undefined for a guest that can make no zones. Throws MayflyError UNAVAILABLE or PROTOCOL if it refuses a rule. */
  static async open(parts: AgentZonesParts): Promise<AgentZones | undefined> {
    if (!parts.agent.can('zones')) return undefined
    const zones = new AgentZones(parts)
    parts.agent.onZone = (message) => zones.#hear(message)
    const asked = parts.rules.map(({ programs, ...bounds }) =>
      parts.agent.ask({ kind: 'rule', programs, limits: limitsOf(bounds) }, ANSWER_MS_MAX),
    )
    for (const { errno } of await Promise.all(asked))
      if (errno !== 0) throw refused('make program zones', errno)
    return zones
  }

  private constructor(parts: AgentZonesParts) {
    this.#parts = parts
  }

  async tighten(name: string, to: ZoneBounds): Promise<BoundMechanisms> {
    const zone = this.#find(name)
    if (!zone) throw missing(name)
    // Race: one that is ending, as at its deadline, ends for its own cause.
    if (zone.why === undefined) await this.#bound(zone, to)
    const { memory, cpu, processes } = heldBy(zone.bounds)
    return { memory: memory === 'none' ? 'watch' : memory, cpu, processes, io: 'none' }
  }

  async #bound(zone: LiveAgentZone, to: ZoneBounds): Promise<void> {
    const { errno } = await this.#parts.agent.ask(
      { kind: 'bound', zone: zone.id, limits: limitsOf(to) },
      ANSWER_MS_MAX,
    )
    if (errno === constants.errno.ESRCH) throw missing(zone.name)
    if (errno !== 0) throw refused('tighten a program zone', errno)
    zone.bounds = { ...zone.bounds, ...to }
  }

  /** The guest of a frozen job ends it before the job continues. */
  async end(name: string): Promise<void> {
    const zone = this.#find(name)
    if (!zone) return
    this.#end(zone, 'ended')
    if (!this.#parts.isFrozen()) await zone.gone.promise
  }

  /** Forgets the zones of a wall that has ended. */
  close(): void {
    for (const zone of this.#zones.values()) this.#remove(zone)
  }

  #find(name: string): LiveAgentZone | undefined {
    return this.#zones.values().find((zone) => zone.name === name)
  }

  #hear(message: AgentMessageOf<'zone'>): void {
    if (message.what === 'gone') return this.#gone(message)
    const rule = this.#parts.rules[message.rule]!
    const outer = this.#zones.get(message.outer)
    const name = this.#names.next(rule)
    const about = { ...aboutOf(rule, name, outer), program: message.path }
    if (message.what === 'refused')
      return this.#parts.report({ ...about, what: 'refused', why: whyRefused(message.errno) })
    const { memory, cpu, processes } = rule
    const bounds = present({ memory, cpu, processes })
    const own = { id: message.zone, name, rule, outer, bounds, isGone: false }
    const gone = Promise.withResolvers<void>()
    const zone: LiveAgentZone = {
      ...own,
      gone,
      // A zone that begins while the one around it is ending ends with it.
      why: outer?.why,
      deadline: setTimeout(() => this.#end(zone, 'timeout'), rule.life + zoneSlackMs),
    }
    this.#zones.set(zone.id, zone)
    this.#parts.report({ ...about, what: 'began', enforced: heldBy(bounds) })
  }

  #gone({ zone: id, isOutOfMemory, peakBytes }: AgentMessageOf<'zone'> & { what: 'gone' }): void {
    const zone = this.#zones.get(id)
    if (!zone) return
    this.#remove(zone)
    const { why = isOutOfMemory ? memoryHit : overByItself } = zone
    const about = aboutOf(zone.rule, zone.name, zone.outer)
    this.#parts.report({ ...about, what: 'gone', program: '', why, peakBytes })
  }

  #remove(zone: LiveAgentZone): void {
    clearTimeout(zone.deadline)
    zone.isGone = true
    this.#zones.delete(zone.id)
    zone.gone.resolve()
  }

  #end(zone: LiveAgentZone, why: string): void {
    if (zone.why !== undefined) return
    for (const one of this.#zones.values()) if (isWithin(one, zone)) one.why ??= why
    const { agent } = this.#parts
    // The zone's report is the answer; an error is found by the wait for it.
    if (agent.fault === undefined)
      void agent.ask({ kind: 'finish', zone: zone.id }, LIFE_MS_MAX).catch(() => undefined)
    void this.#awaitEnd(zone)
  }

  async #awaitEnd(zone: LiveAgentZone): Promise<void> {
    const { agent, isPaused, onStuck, endMsMax = END_MS_MAX } = this.#parts
    for (let waitedMs = 0; waitedMs < endMsMax;) {
      await Promise.race([zone.gone.promise, sleep(STEP_MS, undefined, { ref: false })])
      if (zone.isGone || agent.fault !== undefined) return
      if (!isPaused()) waitedMs += STEP_MS
    }
    onStuck()
  }
}

function isWithin(zone: LiveAgentZone, outer: LiveAgentZone): boolean {
  for (let at: LiveAgentZone | undefined = zone; at; at = at.outer) if (at === outer) return true
  return false
}

function aboutOf({ kind }: ZoneRule, zone: string, outer: LiveAgentZone | undefined) {
  const parent = outer?.name ?? 'main'
  return { zone, kind, parent, entered: 'asked', trust: 'guest' } as const
}

/** The kernel rounds memory down to pages, and has no quota below a thousandth of a core. */
function limitsOf({ memory, cpu, processes }: ZoneBounds): AgentZoneLimits {
  return present({
    memory,
    cpu: cpu === undefined ? undefined : Math.max(1, Math.floor(cpu * CPU_UNITS)),
    processes,
  })
}

function heldBy({ memory, cpu, processes }: ZoneBounds) {
  const by = (bound: number | undefined) => (bound === undefined ? 'none' : 'cgroup')
  return { memory: by(memory), cpu: by(cpu), processes: by(processes) } as const
}

function whyRefused(errno: number): string {
  if (errno === constants.errno.EAGAIN) return 'there are too many zones'
  if (errno === constants.errno.ELOOP) return nestedTooDeep
  return `it could not be added to a zone: errno ${errno}`
}

const missing = (name: string) =>
  new MayflyError('NOT_FOUND', `Cannot find zone "${name}": the guest has none of this name`)

const refused = (act: string, errno: number) =>
  new MayflyError('UNAVAILABLE', `Cannot ${act} in a guest: errno ${errno}`)
