import type { Clock } from './clock.ts'

/** Deadline for a wall to tighten, freeze or thaw, in milliseconds. */
export const wallAnswerMsMax = 1000

/** Sends a request to a wall and waits for the answer. Rejects after `msMax`; a later answer is dropped. */
export async function wallAnswer<T>(
  ask: () => Promise<T>,
  clock: Clock,
  msMax: number = wallAnswerMsMax,
): Promise<T> {
  const answer = Promise.withResolvers<T>()
  const late = clock.after(msMax, () => answer.reject(new Error('the wall is late')))
  Promise.try(ask).then(answer.resolve, answer.reject)
  try {
    return await answer.promise
  } finally {
    late.cancel()
  }
}
