import type { LimitHit } from '../../../contract/warden.ts'
import { askStatus } from '../../../agent-wire/agent-questions.ts'
import { hasRefusedTasks } from '../group-bounds.ts'
import { tasksBoundOf, wordMsMax, type MachineJob } from './bounds.ts'

/**
 * Limit that the job of a guest has used up, or an exec of its session, by counts of the guest's kernel, as its agent reports them: of
 * the scratch folders, and of the tasks of the job's cgroup. `countAnew` leaves refusals until now out of later answers.
 *
 * A claim of the guest. Its programs cannot write to the agent's channel, and change a count only as any program does, by files and
 * tasks of their own. Root there can also lie, whose job has failed in any case: it is then named after a limit.
 *
 * Not handled: as in `../processes/limit-hit.ts`. Rejects without an answer.
 */
export async function limitInside(
  job: MachineJob,
  { countAnew, mayFork }: { readonly countAnew: boolean; readonly mayFork: boolean },
): Promise<LimitHit | undefined> {
  const { held, tasksPeak, tasksRefused } = job
  const before = { tasksPeak, tasksRefused }
  if (!held) return undefined
  const seen = await askStatus(job.machine.agent, wordMsMax)
  if (countAnew) {
    job.tasksPeak = seen.tasksPeak
    job.tasksRefused = seen.tasksRefused
  }
  const bound = tasksBoundOf(job, held)
  const counts = { now: seen.tasks, peak: seen.tasksPeak, refused: seen.tasksRefused }
  // Closed by a phase, which is no limit.
  if (mayFork && hasRefusedTasks(counts, before, bound)) return 'processes'
  return seen.isDiskFull ? 'disk' : undefined
}
