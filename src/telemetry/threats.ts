import type { ThreatRow } from '../contract/answers.ts'
import type { Event, Sink } from '../contract/event.ts'

/**
 * Threats of the event stream with their consequences, in names and numbers: no code and no text of a guest. `audited`:
 * score above 40. `blocked`: not run. `unparsed`: the parser failed. `denied`: used a capability that was not granted.
 * `anomaly`: unusual behaviour. `refused`: its output broke the contract. Stores the last 1000.
 */
export class Threats {
  readonly #keptMax: number
  readonly #runs = new Map<string, About>()
  readonly #listeners = new Set<(threat: ThreatRow) => void>()
  #kept: ThreatRow[] = []
  /** Number of the last threat, or the time since. */
  #seq = 0

  constructor(kept = keptMax) {
    this.#keptMax = kept
  }

  readonly sink: Sink = (event) => {
    if (event.run !== null && event.trust === 'host') this.#learn(event.run, event)
    const kind = kindOf(event)
    // From the host's time, so that a reader of the process before a restart continues where it was.
    if (event.trust === 'host') this.#seq = Math.max(this.#seq, event.at)
    if (kind) this.#keep(threatOf({ ...event, seq: ++this.#seq }, kind, this.#aboutOf(event)))
    if (event.point === 'job/ended' && event.trust === 'host') this.#runs.delete(event.run ?? '')
  }

  /**
   * Stored threats after `seq`, oldest first; of one tenant, or all. A number that no threat has reached is of an earlier
   * process whose clock was ahead: all are later.
   */
  after(seq: number, tenant?: string): readonly ThreatRow[] {
    const from = seq > this.#seq ? 0 : seq
    return this.#kept.filter(
      (one) => one.seq > from && (tenant === undefined || one.tenant === tenant),
    )
  }

  /** Subscribes to threats; returns the unsubscribe function. */
  listen(listener: (threat: ThreatRow) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  #keep(threat: ThreatRow): void {
    this.#kept.push(threat)
    // Trims at twice the limit, so that a push does not move the array each time.
    if (this.#kept.length >= 2 * this.#keptMax) this.#kept = fairlyKept(this.#kept, this.#keptMax)
    for (const listener of this.#listeners) listener(threat)
  }

  /** Remembers tenant and verdict, which only early events carry; the least recently updated run is evicted. */
  #learn(run: string, { point, fields }: Event): void {
    if (!point.startsWith('threat/') && point !== 'job/admitted') return
    const known = this.#runs.get(run)
    this.#runs.delete(run)
    this.#runs.set(run, {
      ...known,
      tenant: text(fields['tenant']) ?? known?.tenant ?? null,
      ...(point === 'threat/analysed' && verdictOf(fields)),
    })
    const [oldest] = this.#runs.keys()
    if (this.#runs.size > runsMax && oldest !== undefined) this.#runs.delete(oldest)
  }

  #aboutOf({ run, fields }: Event): About {
    const known = run === null ? undefined : this.#runs.get(run)
    return known ?? { tenant: text(fields['tenant']) ?? null }
  }
}

/** Limits: threats stored, and runs with known tenant and verdict. */
const keptMax = 1000
const runsMax = 8192
const auditedAbove = 40
const wordCharsMax = 128

/**
 * The last threats, `max` at most, and as many of each tenant at most, so that a flood of one tenant evicts its own before
 * those of others.
 */
function fairlyKept(kept: readonly ThreatRow[], max: number): ThreatRow[] {
  const counts = [...Map.groupBy(kept, ({ tenant }) => tenant).values()].map((of) => of.length)
  const most = Math.max(1, fairShare(counts, max))
  const seen = new Map<string | null, number>()
  const last = kept.toReversed().filter(({ tenant }) => {
    const count = (seen.get(tenant) ?? 0) + 1
    seen.set(tenant, count)
    return count <= most
  })
  return last.slice(0, max).toReversed()
}

/** Most that each may have for all to fit in `max`. */
function fairShare(counts: readonly number[], max: number): number {
  let left = max
  for (const [at, count] of counts.toSorted((a, b) => a - b).entries()) {
    const share = Math.floor(left / (counts.length - at))
    if (count > share) return share
    left -= count
  }
  return max
}

type About = Pick<ThreatRow, 'tenant'> &
  Partial<Pick<ThreatRow, 'threatScore' | 'risk' | 'judged' | 'patterns'>>

function kindOf({ point, trust, fields }: Event): ThreatRow['kind'] | undefined {
  if (point === 'capability/denied') return 'denied'
  if (point === 'anomaly/found') return 'anomaly'
  if (trust !== 'host') return undefined
  if (point === 'threat/unparsed') return 'unparsed'
  if (point === 'threat/analysed' && Number(fields['threatScore']) > auditedAbove) return 'audited'
  if (point === 'effect/refused' && fields['code'] === 'THREAT_DETECTED') return 'blocked'
  if (point !== 'job/ended') return undefined
  return { blocked: 'blocked', refused: 'refused' }[String(fields['status'])] as
    | 'blocked'
    | 'refused'
    | undefined
}

function threatOf(
  { seq, at, run, trust, fields }: Event,
  kind: ThreatRow['kind'],
  about: About,
): ThreatRow {
  const code = kind === 'denied' ? undefined : text(fields['code'])
  const capability = kind === 'denied' ? text(fields['capability']) : undefined
  const behaviorScore = kind === 'anomaly' ? fields['behaviorScore'] : undefined
  return {
    seq,
    at: new Date(at).toISOString(),
    kind,
    run,
    trust,
    ...about,
    ...(typeof behaviorScore === 'number' && { behaviorScore }),
    ...(code === undefined ? {} : { code }),
    ...(capability === undefined ? {} : { capability }),
  }
}

function verdictOf(fields: Event['fields']): Partial<About> {
  const { threatScore, risk, judged, patterns } = fields
  return {
    ...(typeof threatScore === 'number' && { threatScore }),
    ...(typeof risk === 'number' && { risk }),
    ...(judged === false && { judged }),
    ...(Array.isArray(patterns) && { patterns: patterns.slice(0, 64).map(String) }),
  }
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value.slice(0, wordCharsMax) : undefined
}
