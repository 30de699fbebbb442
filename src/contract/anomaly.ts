import * as z from 'zod'

/**
 * Observations of a guest, in the same small values on every tier. A wall reports the kinds it can
 * see and omits the others. Text is truncated to its bound before it gets here.
 */
export const seenPathCharactersMax = 300
export const nameCharactersMax = 200
export const hostCharactersMax = 253

const path = z.string().max(seenPathCharactersMax)
const name = z.string().min(1).max(nameCharactersMax)
const count = z.number().finite().min(0)
const denied = z.boolean().describe('whether the attempt was refused')
const pid = z.number().int().min(0).optional().describe('process id, if the wall reports it')

const leftOut = z
  .number()
  .int()
  .min(0)
  .optional()
  .describe('number of observations so far that were dropped, because there were too many')

export const seenSchema = z.discriminatedUnion('kind', [
  /** System calls of one class since the last report. */
  z.object({ kind: z.literal('syscall'), class: name, count, denied }),
  z.object({
    kind: z.literal('exec'),
    path,
    denied,
    pid,
    written: z
      .boolean()
      .optional()
      .describe('whether the file was created or changed since the release'),
    leftOut,
  }),
  z.object({
    kind: z.literal('open'),
    path,
    access: z.enum(['read', 'write']),
    denied,
    pid,
    leftOut,
  }),
  /** Destination by name or address, whether seen by the proxy or by a system-call watch. */
  z.object({
    kind: z.literal('connect'),
    host: z.string().max(hostCharactersMax),
    port: z.number().int().min(0).max(65_535),
    sent: count.describe('bytes, as far as known'),
    received: count.describe('bytes, as far as known'),
    part: z
      .enum(['opened', 'closed'])
      .optional()
      .describe(
        'opened: reported at the open, before any bytes; closed: at the close; absent: one report for both',
      ),
    denied,
  }),
  z.object({ kind: z.literal('capability'), name, denied }),
  /** Exited processes (`exit`) and OOM kills (`oom`), as reported by a guest's kernel: untrusted. */
  z.object({
    kind: z.literal('exit'),
    pid,
    exitCode: z.number().int().min(0).optional(),
    signal: name.optional(),
    leftOut,
  }),
  z.object({ kind: z.literal('oom'), times: count, leftOut }),
  /** Current count of processes and threads. */
  z.object({ kind: z.literal('processes'), now: count }),
  /** CPU time since the release, in milliseconds. */
  z.object({
    kind: z.literal('cpu'),
    used: count,
    waited: count
      .optional()
      .describe('milliseconds in which it was runnable and other processes had the CPU'),
    at: count.optional().describe('time of the sample, on the clock of the sampler'),
  }),
  z.object({ kind: z.literal('memory'), bytes: count.describe('above the idle size') }),
  z.object({
    kind: z.literal('output'),
    bytes: count.describe('bytes of this chunk'),
    entropy: z.number().min(0).max(8).optional().describe('bits a byte'),
    stream: z.enum(['stdout', 'stderr']).optional(),
  }),
  /** Use of a planted secret, for which no legitimate code has a reason. */
  z.object({
    kind: z.literal('honeytoken'),
    token: name.describe('id of the honeytoken, never its value'),
    where: z.enum(['output', 'egress', 'file', 'environment', 'call']),
  }),
])
export type ObservedFact = Readonly<z.infer<typeof seenSchema>>
export const seenKinds = seenSchema.options.map(({ shape }) => shape.kind.value)

/** An observation in a zone. `at` is milliseconds since the release of user code. */
export interface Observation {
  readonly at: number
  readonly zone: string
  readonly trust: 'host' | 'wall' | 'guest'
  readonly seen: ObservedFact
}

export const anomalyNames = [
  'unexpected-syscall',
  'sensitive-data',
  'unforeseen-access',
  'denied-burst',
  'memory-shape',
  'cpu-shape',
  'beaconing',
  'fork-storm',
  'exec-of-written',
  'late-activity',
  'output-growth',
  'off-baseline',
] as const
export type AnomalyName = (typeof anomalyNames)[number]

export const anomalySeverities = ['low', 'medium', 'high'] as const
export type AnomalySeverity = (typeof anomalySeverities)[number]

/** A detector's conclusion. `subject` distinguishes two anomalies of one detector. */
export interface Anomaly {
  readonly name: AnomalyName
  readonly severity: AnomalySeverity
  readonly zone: string
  readonly at: number
  /** Lowest trust level among its evidence. */
  readonly trust: Observation['trust']
  readonly subject: string
  readonly reason: string
  /** Observations it is based on, newest last; at most `evidenceMax`. */
  readonly evidence: readonly Observation[]
}

export const evidenceMax = 8

/** Expectations about code before it runs: its verdict, its grants, its own declarations. */
export interface ExpectedBehavior {
  /**
   * Kinds of access that the analysis found in the code; undefined without an analysis: no access is
   * then unexpected.
   */
  readonly access: readonly Access[] | undefined
  /** Capability names it is expected to call. */
  readonly capabilities: 'any' | readonly string[]
  /** Classes of system calls it is expected to use. */
  readonly syscalls: 'any' | readonly string[]
  /** Hosts granted by their full name. */
  readonly hosts: readonly string[]
  /** Limits of the job, in bytes, for thresholds that are shares of them. */
  readonly memory: number
  readonly processes: number
  readonly cpu: number
  readonly output: number
  /** Declares itself compute-bound. */
  readonly computes: boolean
  /** Absolute paths of the job's own files, which are no secret from it. */
  readonly ownFiles: readonly string[]
  /** Absolute paths of planted honeytokens; Mayfly itself writes them. */
  readonly planted?: readonly string[]
}

/** Kinds of access for which a program needs a system call. */
export const accesses = ['network', 'process', 'files'] as const
export type Access = (typeof accesses)[number]

export function isAtLeast(severity: AnomalySeverity, least: AnomalySeverity): boolean {
  return anomalySeverities.indexOf(severity) >= anomalySeverities.indexOf(least)
}
