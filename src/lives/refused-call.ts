import { nameCharactersMax, seenPathCharactersMax } from '../contract/anomaly.ts'
import type { Event, Point, TimelineEntry } from '../contract/event.ts'

/** Entry for a call that the kernel of a guest refused, as reported by that guest (untrusted); texts are truncated. */
export function refusedCall(
  point: Point,
  { path, access, class: name, call }: Event['fields'],
): Pick<TimelineEntry, 'event' | 'reason' | 'fields'> {
  const what =
    typeof path === 'string'
      ? `${verbOf(point, access)} "${path.slice(-seenPathCharactersMax)}"`
      : textOf(call)
  const fields = { trust: 'guest', ...(typeof name === 'string' && { class: textOf(name) }) }
  return { event: 'denied', reason: `Its kernel refused: ${what}`, fields }
}

function verbOf(point: Point, access: unknown): string {
  return point === 'seen/exec' ? 'execute' : access === 'write' ? 'write' : 'read'
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value.slice(0, nameCharactersMax) : 'a call'
}
