import type { Observation } from '../../contract/anomaly.ts'
import { evidenceMax } from '../../contract/anomaly.ts'
import { spreadOf } from './cpu-shape.ts'
import { type Detector, lastOf } from './detector.ts'

/** Requests by host, least recently seen first. */
type Hosts = readonly { readonly host: string; readonly seen: readonly Observation[] }[]

const hostsMax = 32
const requestsMax = 16

/** Small requests to one host at regular intervals (C2 beacon). For a host granted by name it may be polling: `low`. */
export const beaconing: Detector<Hosts> = {
  name: 'beaconing',
  first: [],
  see(state, observation, { foreseen, thresholds }) {
    const { seen } = observation
    // Only a finished request has a size.
    if (seen.kind !== 'connect' || seen.part === 'opened') return { state }
    if (Math.max(seen.sent, seen.received) > thresholds['beaconing.bytesMax']) return { state }
    const host = `${seen.host.toLowerCase()}:${seen.port}`
    const before = state.find((one) => one.host === host)?.seen ?? []
    const count = Math.min(requestsMax, Math.max(3, Math.ceil(thresholds['beaconing.count'])))
    const requests = lastOf(before, observation, count)
    const next = lastOf(
      state.filter((one) => one.host !== host),
      { host, seen: requests },
      hostsMax,
    )
    const gaps = requests.slice(1).map(({ at }, place) => at - requests[place]!.at)
    const isEven =
      requests.length >= count &&
      gaps.every((gap) => gap >= thresholds['beaconing.gapMsMin']) &&
      spreadOf(gaps) <= thresholds['beaconing.spread']
    if (!isEven) return { state: next }
    const gap = Math.round(gaps.reduce((sum, one) => sum + one, 0) / gaps.length)
    const reason = `It asked "${host}" ${requests.length} times, every ${gap} ms`
    const severity = foreseen.hosts.includes(seen.host.toLowerCase()) ? 'low' : 'medium'
    const evidence = requests.slice(-evidenceMax)
    return { state: next, found: { severity, subject: host, reason, evidence } }
  },
}
