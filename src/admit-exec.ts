/** Steps that a cell and a terminal of a session share: both are execs in a sandbox that is there. */
import type { Job } from './contract/job.ts'
import type { JobEntry, Plan, Rooms } from './contract/pipeline.ts'
import type { Profile } from './contract/profile.ts'
import type { Analysis } from './contract/verdict.ts'

export interface AdmittedExec {
  readonly analysis: Analysis
  readonly plan: Plan
  readonly entry: JobEntry
}

/**
 * Verifies, analyses and records an exec; `within` is its plan in the sandbox of the session. Throws as the rooms do, and
 * MayflyError STATE where it cannot be recorded.
 */
export async function admitExec(
  job: Job,
  rooms: Rooms,
  within: (plan: Plan, analysis: Analysis) => Plan,
): Promise<AdmittedExec> {
  const signed = rooms.verify(job)
  const analysis = await rooms.analyse(job, signed)
  const { verdict } = analysis
  const plan = rooms.profile(job, verdict, signed, (planned) => within(planned, analysis))
  const entry = rooms.recordStart(job, verdict, plan)
  return { analysis, plan, entry }
}

/** Claim of an exec: the sandbox of its session is there already, so nothing is queued or started. */
export function sessionClaim({ provider, profile }: { provider: string; profile: Profile }) {
  const sandbox = { provider, image: profile.image, pool: 'none' } as const
  return { queueTime: 0, startTime: 0, sandbox }
}
