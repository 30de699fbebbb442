import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { LimitHit } from '../../../contract/warden.ts'
import type { SpawnedChild } from '../../../os/spawned-child.ts'
import { failedFd } from './bundle.ts'
import type { RunscWall } from './wall.ts'

/** Bytes that full scratch folders may have left: a runner removes files of its own as it ends. */
const FREE_BYTES_MAX = 2 ** 16
/** Longest wait for a count, which takes 3 to 40 ms. */
const COUNT_MS_MAX = 2_000

/**
 * Limit that a job has used up by the count of its sentry: its scratch folders together hold as many bytes as it may write. Each of
 * them may be as large, so that a job with less in each, which was refused nothing, has used it up too. No task is refused here: a job
 * over its bound is ended (`task-watch.ts`). Undefined without an answer.
 */
export async function limitInside({
  resources,
  disk,
  held,
}: Pick<RunscWall, 'resources' | 'disk' | 'held'>): Promise<LimitHit | undefined> {
  if (!held) return undefined
  const late = sleep(COUNT_MS_MAX, 0, { ref: false })
  const bytes = await Promise.race([resources.control.scratchBytes().catch(() => 0), late])
  return bytes >= disk - FREE_BYTES_MAX ? 'disk' : undefined
}

/**
 * Calls `count` when the program has failed, before its process 1 exits and the sentry with it: that takes less time than a count.
 * Process 1 waits until then (`bundle.ts`); a program has no copy of that descriptor. A process 1 that the program can kill, in an image
 * without setpriv, may not wait.
 */
export function beforeFailedExit({ stdio }: SpawnedChild, count: () => Promise<void>): void {
  const socket = (stdio as unknown as readonly (Socket | undefined)[])[failedFd]
  socket?.on('error', () => undefined)
  socket?.once('data', () => void count().finally(() => socket.destroy()))
}
