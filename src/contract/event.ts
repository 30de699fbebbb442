import * as z from 'zod'

/**
 * Points reached while a life runs, which its conditions count. The others come before its release, after its end, or
 * belong to no life: a condition on one could never hold.
 */
const lifePointNames = [
  'tier/lost',
  'phase/opened',
  'phase/closed',
  'phase/terminated',
  'phase/undecided',
  'control/tightened',
  'control/unenforced',
  'capability/denied',
  'name/refused',
  'egress/allowed',
  'egress/denied',
  'egress/cut',
  'anomaly/found',
  'seen/syscall',
  'seen/exec',
  'seen/open',
  'seen/connect',
  'seen/capability',
  'seen/processes',
  'seen/exit',
  'seen/oom',
  'seen/cpu',
  'seen/memory',
  'seen/output',
  'seen/honeytoken',
  'operator/tightened',
  'operator/frozen',
  'operator/thawed',
  'operator/captured',
  'operator/terminated',
  'evidence/kept',
  'evidence/read',
] as const

/**
 * Events at named points. Logs, metrics, traces, the dashboard, the audit log and the evidence are
 * sinks of this one stream; no room logs on its own. A point is `room/what-happened`. `trust` is
 * the source of the claim: seen by the host, reported by the wall, or stated by the guest about
 * itself; guest claims are rate-limited and never loosen anything. Fields are small plain data
 * without code, input, results or secrets; costly fields are opt-in.
 */
export const points = [
  'job/admitted',
  'job/ended',
  'job/unrecorded',
  'threat/analysed',
  'threat/unparsed',
  'threat/audited',
  'threat/judged',
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
  'capability/misdeclared',
  'limit/hit',
  'anomaly/reacted',
  'baseline/learned',
  'baseline/lost',
  'output/refused',
  'output/truncated',
  'shadow/compared',
  'session/forked',
  'record/checkpoint',
  'record/closed',
  'record/full',
  'record/recovered',
  'record/unsigned',
  'door/refused',
  'door/answered',
  'server/started',
  'server/certificate',
  'server/draining',
  'server/stopped',
  'warden/started',
  'warden/lost',
  'warden/swept',
  'sentinel/lost',
  'sentinel/returned',
  'config/overridden',
  'provider/loaded',
  'provider/refused',
  'provider/removed',
  'signer/trusted',
  'signer/revoked',
  'access/created',
  'access/revoked',
  'webhook/failed',
  'webhook/lost',
  'mcp/called',
  'mcp/refused',
  'mcp/approved',
  'evidence/missing',
  'evidence/resumed',
  'evidence/command',
  'evidence/resume-ended',
  ...lifePointNames,
] as const
export type Point = (typeof points)[number]

/** `lifePointNames` as a set. */
export const lifePoints: ReadonlySet<Point> = new Set<Point>(lifePointNames)

export type ClaimSource = 'host' | 'wall' | 'guest'

export interface Event {
  readonly format: 1
  /** Counter of this process, from 1. */
  readonly seq: number
  /** Milliseconds since 1970. */
  readonly at: number
  /** Execution id, or null for an event outside any execution. */
  readonly run: string | null
  readonly zone: string
  readonly point: Point
  /** Source: a room, a provider, `operator`, `guest`. */
  readonly actor: string
  readonly trust: ClaimSource
  readonly fields: Readonly<Record<string, unknown>>
}

/** Consumer of events. A sink never throws or blocks; it drops and counts what it cannot accept. */
export type Sink = (event: Event) => void

/** Emitter handed to each room. */
export interface Emitter {
  emit(
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
 * Subscriber to the timeline of a life. Entries beyond the timeline's capacity are still delivered
 * if they change the current state, with `isKept` false: a flood hides no phase change of a zone.
 */
export type TimelineListener = (entry: TimelineEntry, isKept: boolean) => void

/** A timeline entry; `at` is milliseconds since the release of user code. */
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
