import type { AnomalySeverity, Observation, ObservedFact } from '../../contract/anomaly.ts'
import { familiarityOf, isReady, timesSeen, usualPeak, type Baseline } from '../baseline.ts'
import { itemOf, type TrailItem, type ItemKind } from '../trail.ts'
import type { Detector, DetectedAnomaly } from './detector.ts'

interface Counted {
  readonly requests: number
  readonly sent: number
}

const words: Readonly<Record<ItemKind, string>> = {
  syscalls: 'system calls of class',
  hosts: 'the host',
  capabilities: 'the capability',
  programs: 'the program',
  folders: 'files in',
}
/** Factor above the usual peak: peaks vary with the input. */
const peakFactor = 4
const requestsMin = 10
const bytesMin = 64 * 1024
const memoryShareMin = 0.25

/** Behaviour that most of the learned runs did not have. */
export const offBaseline: Detector<Counted> = {
  name: 'off-baseline',
  first: { requests: 0, sent: 0 },
  see(state, observation, { baseline, foreseen }) {
    const { seen } = observation
    const isConnect = seen.kind === 'connect'
    const next = isConnect ? counted(state, seen) : state
    if (!baseline || !isReady(baseline)) return { state: next }
    const item = itemOf(seen)
    const found =
      (item && newItem(baseline, item, observation)) ??
      (isConnect ? moreTraffic(baseline, next, observation) : undefined) ??
      moreMemory(baseline, observation, foreseen.memory)
    return { state: next, found }
  },
}

/** Requests count when opened, bytes when closed. */
function counted(
  { requests, sent }: Counted,
  seen: Extract<ObservedFact, { kind: 'connect' }>,
): Counted {
  return { requests: requests + (seen.part === 'closed' ? 0 : 1), sent: sent + seen.sent }
}

/** An item of some runs is `low`, and so is one that may have been dropped. */
function newItem(
  baseline: Baseline,
  { kind, text }: TrailItem,
  observation: Observation,
): DetectedAnomaly | undefined {
  const times = timesSeen(baseline, kind, text)
  const familiarity = times === undefined ? 'rare' : familiarityOf(times, baseline)
  if (familiarity === 'usual') return undefined
  const severity: AnomalySeverity = familiarity === 'new' && kind !== 'folders' ? 'medium' : 'low'
  const how = times ? `only ${times} of ${baseline.runs} earlier runs` : 'no earlier run'
  const reason = `It uses ${words[kind]} "${text}", as ${how} did`
  return { severity, subject: `${kind} ${text}`, reason, evidence: [observation] }
}

function moreTraffic(
  { peaks }: Baseline,
  { requests, sent }: Counted,
  observation: Observation,
): DetectedAnomaly | undefined {
  const isMore =
    requests > Math.max(requestsMin, peakFactor * usualPeak(peaks.requests)) ||
    sent > Math.max(bytesMin, peakFactor * usualPeak(peaks.sent))
  if (!isMore) return undefined
  const reason = `It made ${requests} requests with ${sent} bytes, far more than earlier runs`
  return { severity: 'low', subject: 'traffic', reason, evidence: [observation] }
}

function moreMemory(
  { peaks }: Baseline,
  observation: Observation,
  limit: number,
): DetectedAnomaly | undefined {
  const { seen } = observation
  const usual = usualPeak(peaks.memory)
  // A run whose wall measures no memory has a peak of 0.
  if (seen.kind !== 'memory' || usual <= 2) return undefined
  const isMore = seen.bytes > peakFactor * usual && seen.bytes > memoryShareMin * limit
  if (!isMore) return undefined
  const reason = `It uses ${seen.bytes} bytes of memory, far more than earlier runs`
  return { severity: 'low', subject: 'memory', reason, evidence: [observation] }
}
