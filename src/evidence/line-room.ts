import type { Event, Point, TimelineEntry } from '../contract/event.ts'
import { timelineShare } from '../contract/timeline-share.ts'
import { Shares } from '../lib/shares.ts'

/**
 * Limits of lines in the record that a guest can cause. Each kind of line has a limit of its own: a guest that floods the record
 * with denials hides neither an anomaly nor the reason of its end.
 */
const eventCapacities = {
  guest: 100,
  anomaly: 50,
  'high-anomaly': 50,
  unenforced: 50,
  end: 20,
  door: 100,
} as const
type EventShare = keyof typeof eventCapacities

/** Event lines that a guest can cause, apart from anomalies and its end. */
export const guestEventsMax = eventCapacities.guest

export type EventRoom = Pick<Shares<EventShare>, 'dropped'> & { has(event: Event): boolean }

/** Limits for the events of one run, or of one time window. */
export function eventRoom(): EventRoom {
  const shares = new Shares(eventCapacities)
  return {
    get dropped() {
      return shares.dropped
    },
    has: (event) => shares.take(eventShare(event)),
  }
}

const shareOfPoint: Readonly<Partial<Record<Point, EventShare>>> = {
  'control/unenforced': 'unenforced',
  'limit/hit': 'end',
  'output/refused': 'end',
  'evidence/missing': 'end',
  'door/refused': 'door',
}

/** An anomaly that only the guest reported shares the limit of less severe ones. */
function eventShare({ point, fields, trust }: Event): EventShare {
  if (point === 'anomaly/found')
    return fields['severity'] === 'high' && trust !== 'guest' ? 'high-anomaly' : 'anomaly'
  return shareOfPoint[point] ?? 'guest'
}

/** Limit of timeline entries in one line, except the last one, which is always included. */
const timelineCapacities = { life: 200, 'high-anomaly': 32, anomaly: 16, guest: 64 } as const

/** Entries of a timeline within the limit of a line, in order. */
export function keptTimeline(timeline: readonly TimelineEntry[]): readonly TimelineEntry[] {
  const shares = new Shares(timelineCapacities)
  return timeline.filter(
    (entry, at) => at === timeline.length - 1 || shares.take(timelineShare(entry)),
  )
}
