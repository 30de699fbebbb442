import type { TimelineEntry } from './event.ts'
import { mainZone } from './phase.ts'

/**
 * Kinds of timeline entries; each has a capacity of its own, so that one kind cannot displace another. A guest can cause any
 * number of `guest` entries; the schedule bounds phases, tightenings and ends of `main` (`life`).
 */
export type TimelineShare = 'life' | 'high-anomaly' | 'anomaly' | 'guest'

const guestCaused = new Set<TimelineEntry['event']>(['denied', 'zone', 'channel'])

export function timelineShare({ event, zone, fields }: TimelineEntry): TimelineShare {
  if (event === 'anomaly') return fields?.['severity'] === 'high' ? 'high-anomaly' : 'anomaly'
  return guestCaused.has(event) || zone !== mainZone ? 'guest' : 'life'
}
