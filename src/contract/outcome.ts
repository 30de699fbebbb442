import * as z from 'zod'
import { findingSchema, severity } from './verdict.ts'
import { explained } from './profile.ts'
import { timelineEntry } from './event.ts'
import { ranFunctionSchema, zonesMadeSchema } from './zones.ts'
import { outcomeError } from './outcome-error.ts'
import { sessionStates } from './exec.ts'
import { exitCodeOf, type Status } from './exit-codes.ts'

export const status = z.enum(Object.keys(exitCodeOf) as [Status, ...Status[]])

export const artifact = z
  .object({
    path: z.string(),
    size: z.number().int(),
    sha256: z.string(),
    content: z.string().optional().describe('base64, if inline artifacts were requested'),
  })
  .readonly()

export const encoding = z.enum(['json', 'tagged', 'text'])

/** A rich representation of the result, or a figure: has either its text, or the path of an artifact. */
export const displayItem = z
  .object({
    type: z.string().describe('MIME type, as the job states it'),
    path: z.string().optional().describe('path of the artifact it shows'),
    text: z.string().optional(),
  })
  .readonly()

/** End of one call of a batch; calls after the one that ended the job are `skipped`. */
export const callEnd = z
  .object({
    status: z.enum([...(Object.keys(exitCodeOf) as [Status, ...Status[]]), 'skipped']),
    result: z.unknown(),
    encoding,
    error: outcomeError.optional(),
    executionTime: z.number().describe('milliseconds that this call took; 0 if it never began'),
  })
  .readonly()

/** Cost of capability calls that ran as jobs of their own. */
export const calledJobs = z
  .object({
    jobs: z.number().int(),
    cpuTime: z.number().describe('CPU time of all of them, in milliseconds'),
  })
  .readonly()

/** An outbound attempt: allowed, or denied with the reason. */
export const networkAttempt = z
  .object({
    host: z.string(),
    port: z.number(),
    verdict: z.enum(['allowed', 'denied']),
    sent: z.number().describe('bytes'),
    received: z.number().describe('bytes'),
    because: z.string().optional().describe('reason why it was denied or cut off'),
  })
  .readonly()

/** Source of an outcome served from the cache. */
export const cachedFrom = z
  .object({
    id: z.string(),
    age: z.number().describe('age of that outcome, in milliseconds'),
  })
  .readonly()

/**
 * A difference between the run and its shadow run on another tier: its location, and the start of
 * both values as JSON.
 */
export const shadowDifference = z
  .object({
    field: z.enum(['status', 'error', 'result', 'calls', 'stdout', 'artifacts']),
    path: z.string().optional().describe('such as /items/3'),
    first: z.string(),
    second: z.string(),
  })
  .readonly()

/** Comparison of the job with a second run on another tier. */
export const shadow = z
  .object({
    tier: z.string().describe('requested tier'),
    ran: z.boolean(),
    because: z.string().optional().describe('reason why there was no second run'),
    id: z.string().optional().describe('id of the second execution'),
    status: status.optional(),
    provider: z.string().optional(),
    same: z.boolean().optional(),
    differences: z.array(shadowDifference).readonly(),
    executionTime: z.number().optional(),
    cpuTime: z.number().optional(),
  })
  .readonly()

/** Unfinished work dropped when the job returned its value. */
export const pending = z
  .object({
    timers: z.number().int().min(0),
    promises: z.number().int().min(0).describe('calls without an answer yet'),
  })
  .readonly()

export const leftOut = z.object({ path: z.string(), because: z.string() }).readonly()

/** Session of an exec. */
export const execSession = z
  .object({
    id: z.string(),
    state: z
      .enum(sessionStates)
      .describe('`lost`: the interpreter was started anew, without its variables'),
    ended: z.boolean().describe('the session ended with this exec'),
    between: z
      .object({
        stdout: z.string(),
        stderr: z.string(),
        truncated: z.object({ stdout: z.boolean(), stderr: z.boolean() }).readonly(),
      })
      .readonly()
      .optional()
      .describe('output of background work since the exec before, if there was any'),
  })
  .readonly()

export const outcomeSchema = z
  .object({
    id: z.string(),
    status,
    result: z.unknown(),
    encoding,
    error: outcomeError.optional(),
    calls: z
      .array(callEnd)
      .readonly()
      .optional()
      .describe('for a batch that reached a wall: the end of each call, in order'),
    shadow: shadow.optional().describe('comparison run, if a second tier was requested'),
    stdout: z.string(),
    stderr: z.string(),
    truncated: z.object({ stdout: z.boolean(), stderr: z.boolean() }).readonly(),
    outputLeftOut: z
      .object({ stdout: z.number().int().optional(), stderr: z.number().int().optional() })
      .readonly()
      .optional()
      .describe(
        'bytes beyond `limits.output`, missing between the beginning and the end of a stream',
      ),
    warnings: z
      .array(z.string())
      .readonly()
      .optional()
      .describe(
        'what the caller should know of a job that ended `ok`, such as an input that nothing read',
      ),
    pending: pending
      .optional()
      .describe('pending work that was dropped because a value had been returned'),
    exitCode: z
      .number()
      .int()
      .nullable()
      .describe('exit code of the program; null if it did not exit, or is not a program'),
    signal: z
      .string()
      .nullable()
      .describe('signal that ended the program, such as SIGSEGV; else null'),
    artifacts: z.array(artifact).readonly(),
    artifactsLeftOut: z
      .array(leftOut)
      .readonly()
      .describe(
        'files of the job that were not taken as artifacts, with the reason that the guest reports',
      ),
    display: z
      .array(displayItem)
      .readonly()
      .describe('rich forms of the result, and images: untrusted, as the result is'),
    enforced: z
      .record(z.string(), z.string())
      .optional()
      .describe(
        'mechanism that enforces each limit here: `cgroup`, `keeper`, `rlimit`, `seatbelt`, `watch`, `throttle`, or `none`; `access` names those that refuse files, programs and sockets: `landlock`, `seccomp`, `apparmor`; `layers` are those of the wall',
      ),
    session: execSession.optional().describe('for an exec of a session'),
    server: z
      .enum(['attached', 'own'])
      .optional()
      .describe('of `mayfly run`: a running server ran it, or rooms of the command itself'),
    cachedFrom: cachedFrom
      .optional()
      .describe('with metrics.cache "hit": id of the execution that this outcome comes from'),
    tier: z.string().optional(),
    provider: z.string().optional(),
    image: z.string().optional(),
    security: z
      .object({
        threatScore: z.number(),
        risk: z.number(),
        severity,
        judged: z
          .boolean()
          .describe(
            'false: nothing read the code, as of Python, shells and WebAssembly, so its scores are no judgement',
          ),
        behaviorScore: z
          .number()
          .min(0)
          .max(100)
          .describe('score of the anomalies of this run: 0 without any, or if it never ran'),
        signatureValid: z.boolean(),
        findings: z.array(findingSchema).readonly(),
      })
      .readonly(),
    profile: z.object({ digest: z.string(), explain: z.array(explained).readonly() }).readonly(),
    metrics: z
      .object({
        executionTime: z.number().describe('milliseconds that user code ran; 0 if it never did'),
        queueTime: z.number(),
        startTime: z.number(),
        teardownTime: z.number(),
        cpuTime: z.number(),
        memoryUsage: z
          .object({
            used: z.number(),
            percentage: z.number(),
            peak: z.number(),
            absolute: z
              .number()
              .optional()
              .describe('peak with what its wall held before the job; of programs only'),
          })
          .readonly()
          .optional(),
        instructions: z
          .number()
          .int()
          .optional()
          .describe(
            'instructions that a WebAssembly module ran, if limits.instructions counts them',
          ),
        pool: z.enum(['hit', 'miss', 'none']),
        cache: z.enum(['hit', 'miss', 'none']),
        network: z.array(networkAttempt).readonly(),
        called: calledJobs
          .optional()
          .describe('jobs that ran for capability calls of this one, if any'),
        terminal: z
          .object({
            sent: z.number().int().describe('bytes that it printed'),
            received: z.number().int().describe('bytes that were typed'),
            exitCode: z.number().int().optional(),
          })
          .readonly()
          .optional()
          .describe('for a terminal of a session'),
      })
      .readonly(),
    timeline: z.array(timelineEntry).readonly(),
    zones: zonesMadeSchema
      .optional()
      .describe('with zones in the schedule: zones that were made, and why others were not'),
    ran: z
      .array(ranFunctionSchema)
      .readonly()
      .optional()
      .describe('functions that ran, if a trace was requested and its wall lived until the report'),
    evidence: z
      .object({
        audit: z.number().int().nullable(),
        hash: z.string().nullable(),
        bundle: z
          .string()
          .nullable()
          .describe('name of the last capture stored of this run; null without one'),
        because: z
          .string()
          .optional()
          .describe('reason why the capture that was asked for is missing'),
      })
      .readonly(),
  })
  .readonly()

export type Outcome = z.infer<typeof outcomeSchema>
export type Encoding = z.infer<typeof encoding>
export type PendingWork = z.infer<typeof pending>
export type OmittedArtifact = z.infer<typeof leftOut>
export type NetworkAttempt = z.infer<typeof networkAttempt>
export type CalledJobs = z.infer<typeof calledJobs>
export type CachedFrom = z.infer<typeof cachedFrom>
export type Shadow = z.infer<typeof shadow>
export type ShadowDifference = z.infer<typeof shadowDifference>
export type CallEnd = z.infer<typeof callEnd>
export type Artifact = z.infer<typeof artifact>
export type DisplayItem = z.infer<typeof displayItem>

/** Outcome fields of a job without output. */
export const noOutput = {
  stdout: '',
  stderr: '',
  truncated: { stdout: false, stderr: false },
  exitCode: null,
  signal: null,
  artifacts: [],
  artifactsLeftOut: [],
  display: [],
} as const satisfies Partial<Outcome>

/** Outcome fields of a job that never reached a wall, without those that identify it and its status. */
export function withoutWall() {
  return {
    ...noOutput,
    security: {
      threatScore: 0,
      risk: 0,
      severity: 'low',
      judged: false,
      behaviorScore: 0,
      signatureValid: false,
      findings: [],
    },
    metrics: {
      executionTime: 0,
      queueTime: 0,
      startTime: 0,
      teardownTime: 0,
      cpuTime: 0,
      pool: 'none',
      cache: 'none',
      network: [],
    },
    timeline: [],
    evidence: { audit: null, hash: null, bundle: null },
  } as const satisfies Partial<Outcome>
}
