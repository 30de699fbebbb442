import type { Event, Point, TimelineEntry } from '../contract/event.ts'
import { timelineShare } from '../contract/timeline-share.ts'
import { Shares } from '../lib/shares.ts'

/**
 * Room in the record for what a guest can cause. Every kind of line has a capacity of its own: a guest that floods the
 * record with denials hides neither an anomaly nor the reason of its end.
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

/** Room for the events of one run, or of one window of time. */
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

/** An anomaly by the word of the guest alone shares its room with the lesser ones. */
function eventShare({ point, fields, trust }: Event): EventShare {
  if (point === 'anomaly/found')
    return fields['severity'] === 'high' && trust !== 'guest' ? 'high-anomaly' : 'anomaly'
  return shareOfPoint[point] ?? 'guest'
}

/** Timeline entries of one line, besides the last one, which always has room. */
const timelineCapacities = { life: 200, 'high-anomaly': 32, anomaly: 16, guest: 64 } as const

/** Entries of a timeline that have room in a line, in their order. */
export function keptTimeline(timeline: readonly TimelineEntry[]): readonly TimelineEntry[] {
  const shares = new Shares(timelineCapacities)
  return timeline.filter(
    (entry, at) => at === timeline.length - 1 || shares.take(timelineShare(entry)),
  )
}
