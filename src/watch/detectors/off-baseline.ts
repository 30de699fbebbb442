import type { AnomalySeverity, Observation, ObservedFact } from '../../contract/anomaly.ts'
import { isReady, timesSeen, type Baseline } from '../baseline.ts'
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
/** Factor above the largest peak: peaks vary with the input. */
const peakFactor = 4
const requestsMin = 10
const bytesMin = 64 * 1024
const memoryShareMin = 0.25

/** Behaviour absent from all learned runs. */
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

/** An item of a single run is still reported; one that may have been dropped is `low`. */
function newItem(
  baseline: Baseline,
  { kind, text }: TrailItem,
  observation: Observation,
): DetectedAnomaly | undefined {
  const times = timesSeen(baseline, kind, text)
  if (times !== undefined && (times >= 2 || (times === 1 && baseline.runs === 1))) return undefined
  const severity: AnomalySeverity = times === 0 && kind !== 'folders' ? 'medium' : 'low'
  const how = times === 1 ? 'only one earlier run' : 'no earlier run'
  const reason = `It uses ${words[kind]} "${text}", as ${how} did`
  return { severity, subject: `${kind} ${text}`, reason, evidence: [observation] }
}

function moreTraffic(
  { peaks }: Baseline,
  { requests, sent }: Counted,
  observation: Observation,
): DetectedAnomaly | undefined {
  const isMore =
    requests > Math.max(requestsMin, peakFactor * peaks.requests.max) ||
    sent > Math.max(bytesMin, peakFactor * peaks.sent.max)
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
  if (seen.kind !== 'memory' || peaks.memory.max <= 0) return undefined
  const isMore = seen.bytes > peakFactor * peaks.memory.max && seen.bytes > memoryShareMin * limit
  if (!isMore) return undefined
  const reason = `It uses ${seen.bytes} bytes of memory, far more than earlier runs`
  return { severity: 'low', subject: 'memory', reason, evidence: [observation] }
}
