import type { Writable } from 'node:stream'
import { boundsFd } from './bundle.ts'
import type { RunscResources } from './wall.ts'

const HELD_MS_MAX = 2_000
const POLL_MS = 1

/**
 * Bounds the tasks of the program, by the sentry's own cgroup, which refuses a part of the forks beyond it: `TaskWatch`
 * ends a job that gets through. Throws where the bound is not set in time.
 */
export async function limitTasks(
  { child, control }: Pick<RunscResources, 'child' | 'control'>,
  tasks: number,
): Promise<void> {
  const pipe = (child.stdio as unknown as Writable[])[boundsFd]!
  pipe.write(`${tasks}\n`)
  const until = performance.now() + HELD_MS_MAX
  for (;;) {
    const holds = await control.tasksMax()
    if (holds <= tasks) return
    if (performance.now() > until) throw new Error(`pids.max is ${holds} after setting ${tasks}`)
    await new Promise((resolve) => void setTimeout(resolve, POLL_MS))
  }
}
