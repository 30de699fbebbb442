import * as z from 'zod'
import { callClasses, type CallClass } from '../contract/calls.ts'
import { errnosOfClasses } from '../jail/sentinel-policy.ts'

/** What the warden and a wall's sentinel say to each other: frames there, lines of JSON back. */
export interface TablePhase {
  /** Milliseconds from when the sentinel has it. */
  readonly afterMs: number
  /** Classes that stay open, of those that still are. */
  readonly allow: readonly CallClass[]
  /** Ends the wall. */
  readonly kills?: boolean
}

/** As many as one table may have, and all tables of one life together. */
export const phasesMax = 64
const PHASE_BYTES = 12
const HEAD_BYTES = 5
const AFTER_MS_MAX = 2 ** 32 - 1

/** Throws RangeError for what does not fit. */
export function encodeTable(generation: number, phases: readonly TablePhase[]): Buffer {
  if (phases.length < 1 || phases.length > phasesMax)
    throw new RangeError(`Cannot tell a sentinel of ${phases.length} phases: 1 to ${phasesMax}`)
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

const count = z.number().int().min(0)
const allow = count.max(2 ** callClasses.length - 1).transform(classesOf)
const held = { t: z.number(), generation: count, allow, planned: count }

/** Times are milliseconds of CLOCK_BOOTTIME. */
const word = z.discriminatedUnion('kind', [
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
    lateUs: count,
    /** Threads whose last call could not be seen to be over; nonzero says that one of them may still succeed. */
    unsettled: count,
  }),
  z.strictObject({
    kind: z.literal('status'),
    nonce: count,
    ...held,
    answered: count,
    denied: count,
    leftOut: count,
    waits: count,
    unsettled: count,
  }),
  z.strictObject({ kind: z.literal('ended'), generation: count, lateUs: count }),
  z.strictObject({ kind: z.literal('uncaptured'), pid: z.number().int() }),
  z.strictObject({
    kind: z.literal('seen'),
    t: z.number(),
    pid: count,
    call: count,
    class: z.enum(callClasses),
    verdict: z.enum(['allowed', 'denied']),
    writes: z.boolean(),
    /** How many it kept to itself so far: it says so many a second and no more. */
    leftOut: count,
    /** As the caller wrote it, for telling alone; nothing was decided by it. */
    path: z.string().max(300).exactOptional(),
  }),
])
export type SentinelWord = Readonly<z.infer<typeof word>>
export type SeenCall = Extract<SentinelWord, { kind: 'seen' }>

export interface SentinelStatus {
  /** When this held. */
  readonly t: number
  readonly generation: number
  readonly allowed: readonly CallClass[]
  readonly planned: number
}

/** Undefined for what no sentinel says. */
export function readWord(line: string): SentinelWord | undefined {
  try {
    return word.safeParse(JSON.parse(line)).data
  } catch {
    return undefined
  }
}
