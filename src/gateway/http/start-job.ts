import type { TimelineEntry } from '../../contract/event.ts'
import { UnrecordedEndError } from '../../contract/error.ts'
import type { Job } from '../../contract/job.ts'
import type { Outcome } from '../../contract/outcome.ts'
import { outcomeFor } from '../../contract/outcome-for.ts'
import type { ExecutionRow, StoredFile } from '../../history/history.ts'
import { interruptedOutcome } from '../../history/interrupted-outcome.ts'
import type { GatewayParts, JobStart } from './parts.ts'
import { listeners, type Send } from './frames.ts'
import { LiveOutput } from './live-output.ts'
import { LiveTimeline } from './live-timeline.ts'
import { problemOf } from './problem.ts'
import type { QuotaSlot } from './quota.ts'
import type { JobSlot } from './job-slots.ts'

/** Job that was passed to the pipeline. */
export interface StartedJob {
  readonly id: string
  /** Rejects if there is no outcome. */
  readonly ended: Promise<JobEnd>
  readonly cancel: () => void
  /** Call once the answer is written: a drain waits for that too. */
  readonly answered: () => void
}

export interface JobEnd {
  readonly outcome: Outcome
  /** Outcome as JSON. */
  readonly text: string
}

export interface StartOptions {
  /** Live listener; its promise is back-pressure. */
  readonly send?: Send
  /** Sends the plan of the life as the first frame. */
  readonly sendsPlan?: boolean
  /** True if the outcome may be fetched by another request; the job is then recorded before it starts. */
  readonly outlivesCaller?: boolean
  /** Called when the job could not run, so a retry may help. */
  readonly onNotRun?: () => void
}

/**
 * Starts a job, and stores its outcome unless the job came from a page. Throws MayflyError DRAINING, OVERLOADED or
 * RATE_LIMITED, and STATE if a job that outlives its caller cannot be recorded.
 */
export function startJob(parts: JobStart, job: Job, options: StartOptions = {}): StartedJob {
  const isKept = job.origin !== 'page'
  const row = rowOf(parts, job)
  const { slot, quota } = takeSlots(parts, job, row, options)
  const output = new LiveOutput()
  const timeline = new LiveTimeline(parts.clock)
  const taps = listeners((name, data) => {
    output.push(name, data)
    return options.send?.(name, data)
  })
  const on = (entry: TimelineEntry): void => {
    if (entry.event === 'phase') parts.live.runs(job.id)
    timeline.on(entry)
    taps.on(entry)
  }

  async function run(): Promise<JobEnd> {
    try {
      let files: readonly StoredFile[] = []
      const came = await parts.road(withAccount(job, quota), {
        signal: slot.signal,
        planned: (profile) => {
          timeline.onPlan(profile)
          if (options.sendsPlan) void options.send?.('plan', JSON.stringify(timeline.planned))
        },
        on,
        tap: taps.tap,
        ...(isKept && { files: (beside) => void (files = beside) }),
      })
      const outcome = job.origin === 'page' ? outcomeFor('page', came) : came
      const text = JSON.stringify(outcome)
      const { sent = 0, received = 0 } = outcome.metrics.terminal ?? {}
      quota.end({
        cpuMs: cpuTimeOf(outcome),
        bytesOut: Buffer.byteLength(text) + bytesOf(files) + sent + received,
      })
      if (outcome.status === 'unavailable') options.onNotRun?.()
      if (isKept) keep(parts, job.tenant, endedRow(row, outcome), { text, files })
      return { outcome, text }
    } catch (thrown) {
      if (thrown instanceof UnrecordedEndError) keepLost(parts, job, row, thrown, isKept)
      else options.onNotRun?.()
      throw thrown
    } finally {
      quota.end({ cpuMs: 0, bytesOut: 0 })
      parts.live.end(job.id)
    }
  }

  const { promise: ended, resolve, reject } = Promise.withResolvers<JobEnd>()
  const endText = ended.then(({ text }) => text)
  // Avoids an unhandled rejection: `ended` carries the error to the caller.
  endText.catch(() => undefined)
  if (isKept) {
    const { cancel } = slot
    parts.live.begin(job.tenant, { row, cancel, output, timeline, ended: endText })
  }
  run().then(resolve, reject)
  return {
    id: job.id,
    ended,
    cancel: slot.cancel,
    answered: () => slot[Symbol.dispose](),
  }
}

/** Bytes of artifacts beside the outcome; the door that reads them counts them from the second time on. */
function bytesOf(files: readonly StoredFile[]): number {
  return files.reduce((sum, { bytes }) => sum + bytes.length, 0)
}

/** Processor time of the job, its shadow and its calls. */
function cpuTimeOf({ metrics, shadow }: Outcome): number {
  return metrics.cpuTime + (shadow?.cpuTime ?? 0) + (metrics.called?.cpuTime ?? 0)
}

/** The job with the account of its quotas. */
export function withAccount(job: Job, { account }: Pick<QuotaSlot, 'account'>): Job {
  return account ? { ...job, account } : job
}

/** Takes a job slot and a quota slot, and records the job if it outlives its caller. */
function takeSlots(
  parts: Pick<JobStart, 'history' | 'quotas' | 'running'>,
  job: Job,
  row: ExecutionRow,
  options: StartOptions,
): TakenSlots {
  using undo = new DisposableStack()
  undo.defer(() => options.onNotRun?.())
  const isInSession = job.session?.kind === 'exec'
  const slot = undo.use(parts.running.begin(job.tenant, requestBytesOf(job), isInSession))
  const quota = parts.quotas.begin(job.tenant, requestBytesOf(job), isInSession)
  undo.defer(() => quota.end({ cpuMs: 0, bytesOut: 0 }))
  if (options.outlivesCaller) parts.history.begin(job.tenant, row)
  undo.move()
  return { slot, quota }
}

interface TakenSlots {
  readonly slot: JobSlot
  readonly quota: QuotaSlot
}

/** Bytes of a job's request. */
export function requestBytesOf({ asked, inputText }: Job): number {
  const own = [...asked.args, ...Object.values(asked.env), asked.stdin?.content ?? '']
  const texts = [asked.code, inputText, ...own, ...asked.files.map(({ content }) => content)]
  return texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0)
}

/** A failed write becomes an event; the caller still gets the outcome. */
export function keep(
  parts: Pick<GatewayParts, 'history' | 'refusals'>,
  tenant: string,
  row: ExecutionRow,
  { text, files }: { readonly text: string; readonly files?: readonly StoredFile[] },
): void {
  try {
    parts.history.end(tenant, row, text, files)
  } catch (thrown) {
    parts.refusals.problem(thrown)
  }
}

/** An answer for the next request with the same idempotency key, which must not run the code again. */
function keepLost(
  parts: Pick<GatewayParts, 'history' | 'refusals'>,
  { id, tenant }: Job,
  row: ExecutionRow,
  thrown: UnrecordedEndError,
  isKept: boolean,
): void {
  const { detail } = problemOf(thrown)
  const outcome = interruptedOutcome(id, detail)
  if (isKept) keep(parts, tenant, endedRow(row, outcome), { text: JSON.stringify(outcome) })
}

export function rowOf(parts: Pick<GatewayParts, 'clock'>, { id, asked }: Job): ExecutionRow {
  return {
    id,
    status: 'queued',
    at: new Date(parts.clock.date()).toISOString(),
    ...(asked.language && { language: asked.language }),
    labels: asked.labels,
  }
}

export function endedRow(row: ExecutionRow, outcome: Outcome): ExecutionRow {
  return {
    ...row,
    status: outcome.status,
    ...(outcome.tier !== undefined && { tier: outcome.tier }),
    ...(outcome.provider !== undefined && { provider: outcome.provider }),
    executionTime: outcome.metrics.executionTime,
    threatScore: outcome.security.threatScore,
    judged: outcome.security.judged,
    behaviorScore: outcome.security.behaviorScore,
  }
}
