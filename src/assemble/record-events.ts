import type { Clock } from '../contract/clock.ts'
import { MayflyError } from '../contract/error.ts'
import type { Emitter, Event, Point } from '../contract/event.ts'
import type { Job } from '../contract/job.ts'
import type { JobEntry, Plan } from '../contract/pipeline.ts'
import type { Outcome } from '../contract/outcome.ts'
import { stableCode } from '../evidence/lines.ts'
import type { AuditRecord } from '../evidence/record.ts'
import { createHistory } from '../history/history.ts'
import { recordInterrupted } from '../history/interrupted.ts'

/** Event for a line of the record; `seq` is 0, because the line is written before the event stream numbers it. */
export function recordEvent(
  point: Point,
  fields: Event['fields'],
  actor: string,
  clock: Clock,
): Event {
  const at = clock.date()
  return { format: 1, seq: 0, at, run: null, zone: 'main', point, actor, trust: 'host', fields }
}

/**
 * Fields of `job/ended`: names and milliseconds. The code of an error that the guest threw is untrusted and left out.
 */
export function endedFields(job: Job, outcome: Outcome, took: number): Record<string, unknown> {
  const { status, tier = null, provider = null, error, security, metrics } = outcome
  const { queueTime, startTime, executionTime, teardownTime, cpuTime } = metrics
  const { effectId } = job.asked
  return {
    status,
    tier,
    provider,
    ...(error &&
      (status !== 'error' || error.code === 'SYNTAX_ERROR') && { code: stableCode(error.code) }),
    ...(effectId !== undefined && { effectId }),
    took,
    queueTime,
    startTime,
    executionTime,
    teardownTime,
    cpuTime,
    behaviorScore: security.behaviorScore,
  }
}

/** Fields of `profile/made`. */
export function plannedFields({ kind, profile }: Plan): Record<string, unknown> {
  const { digest, tier, provider, floor, schedule } = profile
  return { kind, digest, tier, provider, floor, schedule: schedule.name }
}

/** Emits refused or truncated output, ahead of the ended line, so that the record has it within its run. */
export function emitWithheld(
  emitter: Emitter,
  run: string,
  { status, error, truncated }: Parameters<JobEntry['end']>[0],
): void {
  if (status === 'refused') emitter.emit('output/refused', { code: error?.code }, { run })
  const streams = (['stdout', 'stderr'] as const).filter((name) => truncated?.[name])
  if (streams.length > 0) emitter.emit('output/truncated', { streams }, { run })
}

/** Fields of `job/unrecorded`. */
export function lostFields(thrown: unknown, took: number): Record<string, unknown> {
  return { code: thrown instanceof MayflyError ? thrown.code : 'INTERNAL', took }
}

/** Closes the entries of dead servers, and stores their outcomes in the history if the disk has room. */
export function closeDead(record: AuditRecord, clock: Clock): void {
  const history = createHistory(
    () => record.bodies,
    () => clock.date(),
  )
  record.closeDead((line) => {
    try {
      recordInterrupted(history, line)
    } catch {
      // The line is closed; a missing history entry is no reason to stop.
    }
  })
}
