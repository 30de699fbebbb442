import type { TimelineEntry } from './event.ts'
import { mainZone } from './phase.ts'

/**
 * Kinds of timeline entries with a capacity each where only some are kept. A guest causes any number of `guest` entries;
 * phases, tightenings and ends of `main` are bounded by the schedule.
 */
export type TimelineShare = 'life' | 'high-anomaly' | 'anomaly' | 'guest'

const guestCaused = new Set<TimelineEntry['event']>(['denied', 'zone', 'channel'])

export function timelineShare({ event, zone, fields }: TimelineEntry): TimelineShare {
  if (event === 'anomaly') return fields?.['severity'] === 'high' ? 'high-anomaly' : 'anomaly'
  return guestCaused.has(event) || zone !== mainZone ? 'guest' : 'life'
}
