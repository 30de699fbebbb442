import { lengthOf } from '../contract/phase.ts'
import type { Profile } from '../contract/profile.ts'
import type { Task } from '../contract/provider.ts'

/** Fields of the `run` frame for all kinds of guests; times in milliseconds, sizes in bytes. */
export function carriedTask(task: Task, { limits, schedule }: Profile) {
  return {
    language: task.language,
    entry: task.entry,
    isEntryGuessed: task.isEntryGuessed ?? false,
    ...(task.name !== undefined && { name: task.name }),
    code: task.code,
    ...(task.typed && { typed: true }),
    inputText: task.inputText,
    ...(task.calls !== undefined && { calls: task.calls }),
    timeoutMs: Math.min(limits.timeout, lengthOf(schedule.phases)),
    resultBytesMax: limits.result,
  }
}
