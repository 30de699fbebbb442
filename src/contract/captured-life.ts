import { canonicalJson } from '../lib/canonical-json.ts'
import type { TimelineEntry } from './event.ts'
import type { Profile } from './profile.ts'
import type { Capture, CapturePart } from './provider.ts'

/** State of a life, for the captures of its wall. */
export interface LifeSoFar {
  readonly profile: Profile
  readonly timeline: readonly TimelineEntry[]
  /** Number of events by name, such as "seen/exec". */
  readonly events: Readonly<Record<string, number>>
}

/**
 * Adds what this host knows of a life to a capture of its wall: `profile.json`, the profile that it was given, and `seen.json`, its
 * timeline so far and how often each event occurred (programs started, calls refused, connections). The timeline marks entries that a
 * guest reported.
 */
export function withLife(capture: Capture, { profile, timeline, events }: LifeSoFar): Capture {
  if (capture.parts.length === 0) return capture
  const own = [part('profile.json', profile), part('seen.json', { events, timeline })]
  return { ...capture, parts: [...capture.parts, ...own] }
}

function part(name: string, value: unknown): CapturePart {
  return { name, bytes: [Buffer.from(canonicalJson(value))] }
}
