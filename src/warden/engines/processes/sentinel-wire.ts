import { type CallPhase, phasesMax } from '../../../contract/warden.ts'
import * as z from 'zod'
import { callClasses, type CallClass } from '../../../contract/calls.ts'
import { errnosOfClasses } from '../../../jail/sentinel-policy.ts'
import { tryParseJson } from '../../../lib/parse-json.ts'

/**
 * Protocol between the warden and a sentinel: binary frames to it, lines of JSON back.
 *
 * A table of phases has a generation, which the sentinel repeats with each state, so that the answer to an earlier table confirms no
 * later one. A sentinel has the rights of its wall's user and reads its memory, so its lines are read as hostile input: a line is one of
 * the shapes below, or invalid.
 *
 * Relies on an ordered byte stream. Not handled: the length of a line and deadlines (`sentinel.ts`); what the sentinel does with a frame
 * (`guest/sentinel/README.md`).
 */
const PHASE_BYTES = 12
const HEAD_BYTES = 5
const AFTER_MS_MAX = 2 ** 32 - 1

/** Throws RangeError for a value that does not fit its field. */
export function encodeTable(generation: number, phases: readonly CallPhase[]): Buffer {
  if (phases.length < 1 || phases.length > phasesMax)
    throw new RangeError(
      `Cannot send ${phases.length} phases to a sentinel: 1 to ${phasesMax} are allowed`,
    )
  const bytes = Buffer.alloc(HEAD_BYTES + phases.length * PHASE_BYTES)
  bytes.writeUInt32LE(generation, 0)
  bytes.writeUInt8(phases.length, 4)
  phases.forEach((phase, index) => {
    const at = HEAD_BYTES + index * PHASE_BYTES
    bytes.writeUInt32LE(Math.min(Math.max(0, Math.floor(phase.afterMs)), AFTER_MS_MAX), at)
    bytes.writeUInt8(maskOf(phase.allow), at + 4)
    bytes.writeUInt8(phase.kills ? 1 : 0, at + 5)
    errnosOfClasses().forEach((errno, place) => bytes.writeUInt8(errno, at + 6 + place))
  })
  return bytes
}

export function maskOf(classes: readonly CallClass[]): number {
  return classes.reduce((mask, name) => mask | (1 << callClasses.indexOf(name)), 0)
}

export function classesOf(mask: number): readonly CallClass[] {
  return callClasses.filter((_, index) => mask & (1 << index))
}

/** Causes for which the sentinel ends a wall: a phase that kills, or a closed call that may still succeed. */
const endings = ['time', 'unsettled', 'unheld'] as const

const count = z.number().int().min(0)
const allow = count.max(2 ** callClasses.length - 1).transform(classesOf)
/** Paths arrive as an array of bytes and are decoded here; a truncated one may end within a UTF-8 character. */
const name = z
  .string()
  .max(300)
  .transform((bytes) => Buffer.from(bytes, 'latin1').toString('utf8'))
const held = { t: z.number(), generation: count, allow, planned: count }

/** Times are milliseconds of CLOCK_BOOTTIME. */
const message = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('ready'), pid: count, scratch: count }),
  z.strictObject({ kind: z.literal('unready'), why: z.string().max(100) }),
  z.strictObject({ kind: z.literal('table'), ...held, tookUs: count }),
  z.strictObject({
    kind: z.literal('refused'),
    generation: count,
    why: z.string().max(100),
  }),
  z.strictObject({
    kind: z.literal('flipped'),
    t: z.number(),
    generation: count,
    allow,
    /** Microseconds until every call in flight had returned. */
    lateUs: count,
  }),
  z.strictObject({
    kind: z.literal('status'),
    nonce: count,
    ...held,
    answered: count,
    denied: count,
    leftOut: count,
    waits: count,
    /** Threads still in a call of a closed class: the phase is in force once there are none. */
    unsettled: count,
  }),
  z.strictObject({ kind: z.literal('ended'), generation: count, why: z.enum(endings) }),
  /** A keeper refused a process at the limit, for the first time since that was set. */
  z.strictObject({ kind: z.literal('crowded') }),
  /** Number of processes; 0 if a capture is impossible, or while another one runs. */
  z.strictObject({ kind: z.literal('capturing'), processes: count }),
  /** Inode of a socket; 0 if there is none. */
  z.strictObject({
    kind: z.literal('socket'),
    nonce: count,
    inode: count,
    /** Pid of the process for which a keeper connected; 0 if it did not. */
    caller: count.exactOptional(),
  }),
  /** A notified exec that waits for an answer, with the names of its program. */
  z.strictObject({
    kind: z.literal('asks'),
    id: z.string().regex(/^\d{1,20}$/),
    pid: count,
    path: name,
    real: name,
    /** Interpreters of a script, of which all but the last are scripts too. */
    by: z.array(name).max(5),
  }),
  z.strictObject({
    kind: z.literal('seen'),
    t: z.number(),
    /** Same time as `t` on CLOCK_MONOTONIC, by which programs measure; it stops while the machine is suspended. */
    monotonic: z.number(),
    pid: count,
    call: count,
    class: z.enum(callClasses),
    verdict: z.enum(['allowed', 'denied']),
    writes: z.boolean(),
    /** Number of reports dropped so far by the rate limit. */
    leftOut: count,
    /** Canonical path in the wall's root; of an exec the last component stays unresolved. Informative: no decision used it. */
    path: name.exactOptional(),
    /** ctime of an executed file, in milliseconds of CLOCK_MONOTONIC. */
    wrote: z.number().min(0).exactOptional(),
  }),
])
export type SentinelMessage = Readonly<z.infer<typeof message>>
export type NotifiedExec = Extract<SentinelMessage, { kind: 'asks' }>
export type ReportedCall = Extract<SentinelMessage, { kind: 'seen' }>

export interface SentinelStatus {
  /** Time at which this state held. */
  readonly t: number
  readonly generation: number
  readonly allowed: readonly CallClass[]
  readonly planned: number
}

/** Undefined for an invalid line. */
export function parseSentinelMessage(line: string): SentinelMessage | undefined {
  return message.safeParse(tryParseJson(line)).data
}
