import * as z from 'zod'

/**
 * Something that happened, at a named point. Logs, metrics, traces, the dashboard, the audit log and the evidence
 * are sinks of this one stream; no room logs on its own.
 *
 * A point is `room/what-happened`. `trust` says who claims it: the host saw it, the wall reported it, or the
 * guest said it of itself, which is rate-limited and never loosens anything. Fields are plain data, small, and
 * never hold code, input, results or secrets; a field that costs something to make is left out unless asked for.
 */
export const points = [
  'job/admitted',
  'job/ended',
  'job/unrecorded',
  'threat/analysed',
  'threat/unparsed',
  'threat/audited',
  'effect/registered',
  'effect/refused',
  'profile/made',
  'pool/claimed',
  'pool/queued',
  'pool/refused',
  'pool/refilled',
  'pool/drained',
  'cache/hit',
  'cache/miss',
  'tier/proved',
  'tier/unavailable',
  'tier/stood-in',
  'tier/launched',
  'tier/destroyed',
  'tier/lost',
  'phase/opened',
  'phase/closed',
  'phase/terminated',
  'phase/undecided',
  'control/tightened',
  'control/unenforced',
  'capability/denied',
  'capability/misdeclared',
  'egress/allowed',
  'egress/denied',
  'egress/cut',
  'limit/hit',
  'anomaly/found',
  'anomaly/reacted',
  'baseline/learned',
  'baseline/lost',
  'seen/syscall',
  'seen/exec',
  'seen/open',
  'seen/connect',
  'seen/capability',
  'seen/processes',
  'seen/cpu',
  'seen/memory',
  'seen/output',
  'seen/honeytoken',
  'output/refused',
  'output/truncated',
  'shadow/compared',
  'record/checkpoint',
  'record/closed',
  'record/full',
  'record/recovered',
  'record/unsigned',
  'door/refused',
  'door/answered',
  'server/started',
  'server/draining',
  'server/stopped',
  'warden/started',
  'warden/lost',
  'warden/swept',
  'sentinel/lost',
  'sentinel/returned',
  'config/overridden',
  'signer/trusted',
  'signer/revoked',
  'access/created',
  'access/revoked',
  'webhook/lost',
  'operator/tightened',
  'operator/frozen',
  'operator/thawed',
  'operator/captured',
  'operator/terminated',
  'evidence/kept',
  'evidence/missing',
  'evidence/read',
] as const
export type Point = (typeof points)[number]

export type Trust = 'host' | 'wall' | 'guest'

export interface Event {
  readonly format: 1
  /** Counts up by one in each process, from 1. */
  readonly seq: number
  /** Milliseconds since 1970. */
  readonly at: number
  /** The execution's id, or null where an event belongs to none. */
  readonly run: string | null
  readonly zone: string
  readonly point: Point
  /** Who did it: a room, a provider, `operator`, `guest`. */
  readonly actor: string
  readonly trust: Trust
  readonly fields: Readonly<Record<string, unknown>>
}

/** Where events go. A sink never throws and never waits; what it cannot take it drops and counts. */
export type Sink = (event: Event) => void

/** What a room is handed to speak with. */
export interface Voice {
  say(
    point: Point,
    fields?: Readonly<Record<string, unknown>>,
    more?: Partial<Pick<Event, 'run' | 'zone' | 'actor' | 'trust'>>,
  ): void
}

export const timelineWord = z.enum([
  'phase',
  'tightened',
  'advanced',
  'anomaly',
  'denied',
  'frozen',
  'thawed',
  'captured',
  'terminated',
  'zone',
  'channel',
])

/**
 * Hears of a life as it goes. A line that its timeline has no room for is told too where it says what holds now, with
 * `isKept` false: a flood keeps nobody from knowing in which phase a zone is.
 */
export type HearLine = (entry: TimelineEntry, isKept: boolean) => void

/** One line of the story of a life; `at` counts from the release of user code, in milliseconds. */
export const timelineEntry = z
  .object({
    at: z.number(),
    zone: z.string(),
    event: timelineWord,
    phase: z.string().optional(),
    controls: z.record(z.string(), z.unknown()).optional(),
    took: z.number().optional(),
    reason: z.string().optional(),
    fields: z.record(z.string(), z.unknown()).optional(),
  })
  .readonly()

export type TimelineEntry = z.infer<typeof timelineEntry>
