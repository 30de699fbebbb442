import {
  type AnomalySeverity,
  type Anomaly,
  isAtLeast,
  type Observation,
  type ObservedFact,
} from '../contract/anomaly.ts'
import { mainZone } from '../contract/phase.ts'
import type { DetectorContext, RunningDetector } from './detectors/detector.ts'
import { detectors } from './detectors/detectors.ts'
import { mayTeach } from './baseline.ts'
import { withObservation, noTrail, type RunTrail } from './trail.ts'

/**
 * Detection state of one life: `(watch, observation) → (watch, anomalies)`; pure and bounded, so that a replay gives
 * the same anomalies.
 *
 * Trust: each trust level has its own detectors, which also receive the observations of more trusted levels. Reports
 * of a wall can only add findings to those of the host, and claims of a guest only to both, so false claims hide
 * nothing; claims of a guest alone are at most `low`.
 *
 * Zones: activity counts for its zone and for `main`, so that it cannot be spread below every threshold. Samples,
 * such as memory, count for the zone only.
 */
export interface DetectionState {
  /** Detectors by trust level and zone; levels without observations are absent. */
  readonly levels: Readonly<Partial<Record<Level, Zones>>>
  /** Highest severity reported, by level of trust and anomaly. */
  readonly reported: Readonly<Record<Level, Reported>>
  readonly trail: RunTrail
  readonly guest: { readonly tokens: number; readonly at: number; readonly dropped: number }
}

type Level = Observation['trust']
type Reported = ReadonlyMap<string, AnomalySeverity>
type Zones = ReadonlyMap<string, readonly RunningDetector[]>

const levels: readonly Level[] = ['host', 'wall', 'guest']
/** Levels whose reports count alike: a claim of a guest hides no anomaly that either of them finds later. */
const reliableLevels: readonly Level[] = ['host', 'wall']
/** Limit of zones with their own detectors; others count for `main` only. */
export const watchedZonesMax = 32
/** Limit of distinct anomalies of one life, at each level of trust: claims of a guest use up none of those of the host. */
export const anomaliesMax = 200
/** Token bucket for reports of the guest itself (untrusted): burst, and rate per second. */
export const guestReportsMax = 40
const guestReportsPerSecond = 20

const fresh: Zones = new Map()
const noReports: Reported = new Map()

export const initialDetection: DetectionState = {
  levels: { host: fresh },
  reported: { host: noReports, wall: noReports, guest: noReports },
  trail: noTrail,
  guest: { tokens: guestReportsMax, at: 0, dropped: 0 },
}

export interface DetectionResult {
  readonly watch: DetectionState
  readonly anomalies: readonly Anomaly[]
}

/** State after an observation, with new anomalies. */
export function observe(
  watch: DetectionState,
  observation: Observation,
  known: DetectorContext,
): DetectionResult {
  if (observation.trust !== 'guest') return detect(watch, observation, known)
  const { tokens, at, dropped } = watch.guest
  const since = Math.max(0, observation.at - at)
  const filled = Math.min(guestReportsMax, tokens + (since * guestReportsPerSecond) / 1000)
  const now = Math.max(at, observation.at)
  if (filled < 1)
    return {
      watch: { ...watch, guest: { tokens: filled, at: now, dropped: dropped + 1 } },
      anomalies: [],
    }
  return detect({ ...watch, guest: { tokens: filled - 1, at: now, dropped } }, observation, known)
}

/** State after the owner of a session started an exec in it. */
export function observeExecStart(watch: DetectionState, at: number): DetectionState {
  const levelled = Object.entries(watch.levels).map(([level, zones]) => {
    const next = [...zones].map(
      ([zone, all]) => [zone, all.map((one) => one.execStarted(at))] as const,
    )
    return [level, new Map(next)] as const
  })
  return { ...watch, levels: Object.fromEntries(levelled) }
}

function detect(
  watch: DetectionState,
  observation: Observation,
  known: DetectorContext,
): DetectionResult {
  const from = levels.indexOf(observation.trust)
  const found: Anomaly[] = []
  const next: Partial<Record<Level, Zones>> = { ...watch.levels }
  for (const [place, level] of levels.entries()) {
    // A new level starts from the state of the next more trusted one.
    const before =
      watch.levels[level] ?? (place === from ? nearestTrusted(watch, place) : undefined)
    if (place < from || !before) continue
    const result = inZones(before, observation, known)
    next[level] = result.zones
    found.push(...result.anomalies.map((one) => trusted(one, level)))
  }
  const fresh = newAnomalies(watch.reported, found)
  return {
    watch: {
      ...watch,
      levels: next,
      reported: fresh.reported,
      trail: mayTeach(observation) ? withObservation(watch.trail, observation) : watch.trail,
    },
    anomalies: fresh.anomalies,
  }
}

function nearestTrusted(watch: DetectionState, place: number): Zones {
  const nearest = levels.slice(0, place).findLast((level) => watch.levels[level])
  return (nearest && watch.levels[nearest]) ?? fresh
}

function trusted(anomaly: Anomaly, level: Level): Anomaly {
  return level === 'guest'
    ? { ...anomaly, trust: level, severity: 'low' }
    : { ...anomaly, trust: level }
}

interface ZoneDetection {
  readonly zones: Zones
  readonly anomalies: readonly Anomaly[]
}

function inZones(zones: Zones, observation: Observation, known: DetectorContext): ZoneDetection {
  const { zone, seen } = observation
  const hasOwn = zone !== mainZone && (zones.has(zone) || zones.size < watchedZonesMax)
  const own = hasOwn ? inZone(zones, zone, observation, known) : { zones, anomalies: [] }
  // Samples of a zone do not apply to `main`, whether the zone has detectors or not.
  if (zone !== mainZone && isSample(seen)) return own
  const all = inZone(own.zones, mainZone, observation, known)
  // A milder one of the zone does not hide that of all zones together.
  const added = all.anomalies.filter(
    ({ name, subject, severity }) =>
      !own.anomalies.some(
        (one) => one.name === name && one.subject === subject && isAtLeast(one.severity, severity),
      ),
  )
  return { zones: all.zones, anomalies: [...own.anomalies, ...added] }
}

function inZone(
  zones: Zones,
  zone: string,
  observation: Observation,
  known: DetectorContext,
): ZoneDetection {
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

/** Anomalies that are new or more severe than reported before. */
function newAnomalies(
  before: DetectionState['reported'],
  found: readonly Anomaly[],
): { readonly reported: DetectionState['reported']; readonly anomalies: readonly Anomaly[] } {
  if (found.length === 0) return { reported: before, anomalies: [] }
  const reported = { ...before }
  const anomalies = found.filter(({ name, zone, subject, severity, trust }) => {
    const whole = `${name}\n${zone}\n${subject}`
    const alike = trust === 'guest' ? levels : reliableLevels
    if (alike.some((level) => isReported(reported[level], whole, severity))) return false
    const own = reported[trust]
    // Beyond the limit anomalies are keyed by detector alone.
    const key = own.has(whole) || own.size < anomaliesMax ? whole : name
    if (isReported(own, key, severity)) return false
    reported[trust] = new Map([...own, [key, severity]])
    return true
  })
  return { reported, anomalies }
}

function isReported(reported: Reported, key: string, severity: AnomalySeverity): boolean {
  const worst = reported.get(key)
  return worst !== undefined && isAtLeast(worst, severity)
}
