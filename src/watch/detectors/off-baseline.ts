import type { AnomalySeverity, Observation, ObservedFact } from '../../contract/anomaly.ts'
import { judges, timesSeen, type Baseline } from '../baseline.ts'
import { itemOf, type Item, type ItemKind } from '../trail.ts'
import type { Detector, Found } from './detector.ts'

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
/** Peaks vary with the input; this much more than ever is another kind of run. */
const peakFactor = 4
const requestsMin = 10
const bytesMin = 64 * 1024
const memoryShareMin = 0.25

/** Something that none of the first runs of this code did. */
export const offBaseline: Detector<Counted> = {
  name: 'off-baseline',
  first: { requests: 0, sent: 0 },
  see(state, observation, { baseline, foreseen }) {
    const { seen } = observation
    const isConnect = seen.kind === 'connect'
    const next = isConnect ? counted(state, seen) : state
    if (!baseline || !judges(baseline)) return { state: next }
    const item = itemOf(seen)
    const found =
      (item && newItem(baseline, item, observation)) ??
      (isConnect ? moreTraffic(baseline, next, observation) : undefined) ??
      moreMemory(baseline, observation, foreseen.memory)
    return { state: next, found }
  },
}

/** Counted as it opens, and its bytes as it closes. */
function counted(
  { requests, sent }: Counted,
  seen: Extract<ObservedFact, { kind: 'connect' }>,
): Counted {
  return { requests: requests + (seen.part === 'closed' ? 0 : 1), sent: sent + seen.sent }
}

/** What one run alone did is no habit, and what may have been lost is not sure to be new. */
function newItem(
  baseline: Baseline,
  { kind, text }: Item,
  observation: Observation,
): Found | undefined {
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
): Found | undefined {
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
): Found | undefined {
  const { seen } = observation
  if (seen.kind !== 'memory' || peaks.memory.max <= 0) return undefined
  const isMore = seen.bytes > peakFactor * peaks.memory.max && seen.bytes > memoryShareMin * limit
  if (!isMore) return undefined
  const reason = `It uses ${seen.bytes} bytes of memory, far more than earlier runs`
  return { severity: 'low', subject: 'memory', reason, evidence: [observation] }
}
