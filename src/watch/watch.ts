import {
  type AnomalySeverity,
  type Anomaly,
  isAtLeast,
  type Observation,
  type ObservedFact,
} from '../contract/anomaly.ts'
import type { Known, Running } from './detectors/detector.ts'
import { detectors } from './detectors/detectors.ts'
import { teaches } from './baseline.ts'
import { noted, noTrail, type Trail } from './trail.ts'

/**
 * One life as it is watched: `(watch, observation) → (watch, anomalies)`, pure and bounded, so that the same
 * observations give the same anomalies whenever they are told again.
 *
 * Words count by who says them. Each level of trust has detectors of its own, which hear its words and those of the
 * levels above it: what a wall says can only add to what the host's own words come to, and what a guest says of
 * itself only to both. So no lie hides anything; and a guest's word alone is never worth more than `low`.
 *
 * What is done in a zone counts for the zone and for the whole, so that it can't be spread over many zones to stay
 * below every threshold. Samples, such as memory, are of the zone alone.
 */
export interface Watch {
  /** Detectors under way, by level of trust and zone; a level that nobody spoke at is not there. */
  readonly levels: Readonly<Partial<Record<Level, Zones>>>
  /** The worst that was told, by anomaly. */
  readonly told: ReadonlyMap<string, AnomalySeverity>
  readonly trail: Trail
  readonly guest: { readonly tokens: number; readonly at: number; readonly dropped: number }
}

type Level = Observation['trust']
type Zones = ReadonlyMap<string, readonly Running[]>

const levels: readonly Level[] = ['host', 'wall', 'guest']
export const whole = 'main'
/** Zones with detectors of their own; what happens in one more counts for the whole alone. */
export const watchedZonesMax = 32
/** Findings told of one life. */
export const anomaliesMax = 200
/** What a guest may say of itself: words at once, and words a second. */
export const guestWordsMax = 40
const guestWordsPerSecond = 20

const fresh: Zones = new Map()

export const noWatch: Watch = {
  levels: { host: fresh },
  told: new Map(),
  trail: noTrail,
  guest: { tokens: guestWordsMax, at: 0, dropped: 0 },
}

export interface Looked {
  readonly watch: Watch
  readonly anomalies: readonly Anomaly[]
}

/** The watch after one more observation, and what it came to. */
export function look(watch: Watch, observation: Observation, known: Known): Looked {
  if (observation.trust !== 'guest') return heard(watch, observation, known)
  const { tokens, at, dropped } = watch.guest
  const since = Math.max(0, observation.at - at)
  const filled = Math.min(guestWordsMax, tokens + (since * guestWordsPerSecond) / 1000)
  const now = Math.max(at, observation.at)
  if (filled < 1)
    return {
      watch: { ...watch, guest: { tokens: filled, at: now, dropped: dropped + 1 } },
      anomalies: [],
    }
  return heard({ ...watch, guest: { tokens: filled - 1, at: now, dropped } }, observation, known)
}

function heard(watch: Watch, observation: Observation, known: Known): Looked {
  const from = levels.indexOf(observation.trust)
  const found: Anomaly[] = []
  const next: Partial<Record<Level, Zones>> = { ...watch.levels }
  for (const [place, level] of levels.entries()) {
    // A level that speaks for the first time goes on from what the levels above it know.
    const before = watch.levels[level] ?? (place === from ? above(watch, place) : undefined)
    if (place < from || !before) continue
    const told = inZones(before, observation, known)
    next[level] = told.zones
    found.push(...told.anomalies.map((one) => trusted(one, level)))
  }
  const fresh = newOf(watch.told, found)
  return {
    watch: {
      ...watch,
      levels: next,
      told: fresh.told,
      trail: teaches(observation) ? noted(watch.trail, observation) : watch.trail,
    },
    anomalies: fresh.anomalies,
  }
}

function above(watch: Watch, place: number): Zones {
  const nearest = levels.slice(0, place).findLast((level) => watch.levels[level])
  return (nearest && watch.levels[nearest]) ?? fresh
}

function trusted(anomaly: Anomaly, level: Level): Anomaly {
  return level === 'guest'
    ? { ...anomaly, trust: level, severity: 'low' }
    : { ...anomaly, trust: level }
}

interface InZones {
  readonly zones: Zones
  readonly anomalies: readonly Anomaly[]
}

function inZones(zones: Zones, observation: Observation, known: Known): InZones {
  const { zone, seen } = observation
  const hasOwn = zone !== whole && (zones.has(zone) || zones.size < watchedZonesMax)
  const own = hasOwn ? inZone(zones, zone, observation, known) : { zones, anomalies: [] }
  if (hasOwn && isSample(seen)) return own
  // A sample of a zone that has no detectors says nothing of the whole.
  if (!hasOwn && zone !== whole && isSample(seen)) return own
  const all = inZone(own.zones, whole, observation, known)
  const names = new Set(own.anomalies.map(({ name, subject }) => `${name} ${subject}`))
  const added = all.anomalies.filter(({ name, subject }) => !names.has(`${name} ${subject}`))
  return { zones: all.zones, anomalies: [...own.anomalies, ...added] }
}

function inZone(zones: Zones, zone: string, observation: Observation, known: Known): InZones {
  const before = zones.get(zone) ?? detectors
  const steps = before.map((one) => one.see(observation, known))
  const anomalies = steps.flatMap(({ found }) => (found ? [{ ...found, zone }] : []))
  const hasMoved = steps.some(({ next }, place) => next !== before[place])
  if (!hasMoved && zones.has(zone)) return { zones, anomalies }
  return { zones: new Map([...zones, [zone, steps.map(({ next }) => next)]]), anomalies }
}

function isSample({ kind }: ObservedFact): boolean {
  return kind === 'cpu' || kind === 'memory' || kind === 'processes'
}

/** Those that were not told before, or not as bad. */
function newOf(
  before: Watch['told'],
  found: readonly Anomaly[],
): { readonly told: Watch['told']; readonly anomalies: readonly Anomaly[] } {
  if (found.length === 0) return { told: before, anomalies: [] }
  const told = new Map(before)
  const anomalies = found.filter((anomaly) => {
    const key = keyOf(told, anomaly)
    const worst = told.get(key)
    if (worst !== undefined && isAtLeast(worst, anomaly.severity)) return false
    told.set(key, anomaly.severity)
    return true
  })
  return { told, anomalies }
}

/** Past the bound all anomalies of a detector are one, which is told again only where it is worse than all before. */
function keyOf(told: Watch['told'], { name, zone, subject }: Anomaly): string {
  const key = `${name}\n${zone}\n${subject}`
  return told.has(key) || told.size < anomaliesMax ? key : name
}
