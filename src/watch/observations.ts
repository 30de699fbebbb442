import {
  hostCharactersMax,
  nameCharactersMax,
  type Observation,
  seenPathCharactersMax,
  type ObservedFact,
  seenSchema,
} from '../contract/anomaly.ts'
import type { Event } from '../contract/event.ts'

/**
 * Converts an event to an observation; undefined if it carries none. Walls report at the points `seen/…`; other
 * observations are derived from egress and capability events. Malformed fields are dropped, since they come from
 * inside a wall. `at`: milliseconds since the release of user code.
 */
export function observationOf(event: Event, at: number): Observation | undefined {
  const seen = event.point.startsWith('seen/') ? wallObservation(event) : derivedObservation(event)
  return seen && { at, zone: event.zone.slice(0, 64), trust: event.trust, seen }
}

function wallObservation({ point, fields }: Event): ObservedFact | undefined {
  const kind = point.slice('seen/'.length)
  return factOf({ received: 0, sent: 0, count: 1, denied: false, ...fields }, { kind })
}

function derivedObservation({ point, fields }: Event): ObservedFact | undefined {
  switch (point) {
    case 'egress/allowed':
      return connect(fields, { denied: false, part: 'opened' })
    case 'egress/denied':
      return connect(fields, { denied: true })
    case 'capability/denied':
      return factOf({ name: fields['capability'] }, { kind: 'capability', denied: true })
    default:
      return undefined
  }
}

function connect(
  { host, port }: Event['fields'],
  more: { readonly denied: boolean; readonly part?: 'opened' },
): ObservedFact | undefined {
  return factOf({ host }, { port, sent: 0, received: 0, kind: 'connect', ...more })
}

/** Fact of reported fields, which are cut, and of known ones. */
function factOf(reported: Event['fields'], known: object): ObservedFact | undefined {
  return seenSchema.safeParse({ ...cut(reported), ...known }).data
}

/** Replaces control characters, since the text is printed. Long paths keep their end, other text its beginning. */
function cut(fields: Event['fields']): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => {
      if (typeof value !== 'string') return [key, value]
      const text = value.replace(/\p{Cc}/gu, '\uFFFD')
      if (key === 'path') return [key, text.slice(-seenPathCharactersMax)]
      return [key, text.slice(0, key === 'host' ? hostCharactersMax : nameCharactersMax)]
    }),
  )
}
