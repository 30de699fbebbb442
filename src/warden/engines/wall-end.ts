import { setTimeout as sleep } from 'node:timers/promises'
import { killMsMax, type EnclosureEnd } from '../../contract/engine.ts'
import { attempt } from '../../lib/attempt.ts'
import { signalOfCode } from '../../lib/signal-name.ts'
import type { SpawnedChild } from '../../os/spawned-child.ts'
import { killsAtLimit, type Cgroup } from '../../os/cgroup-interface.ts'

/** Messages of V8 before it aborts for lack of memory. */
const OUT_OF_MEMORY = /out of memory|allocation failed|heap limit/i

interface CountedWall {
  readonly resources: { readonly cgroup: Cgroup | undefined }
  readonly killsAtClaim: number
}

interface EndedWall extends CountedWall {
  readonly resources: {
    readonly child: SpawnedChild
    readonly cgroup: Cgroup | undefined
    readonly complaint: () => string
  }
  readonly spentBefore: number
}

/** End of a wall whose outermost process has ended; `spentMs` is its CPU time since its start. */
export function enclosureEndOf(wall: EndedWall, spentMs: number): EnclosureEnd {
  const { child, complaint } = wall.resources
  const { exitCode, signalCode } = child
  return {
    // An OOM kill closes the socket first, which looks like an end by the server.
    isOutOfMemory: isKilledForMemory(wall) || OUT_OF_MEMORY.test(complaint()),
    detail: `exit ${exitCode ?? signalCode ?? 'unknown'}`,
    exit: {
      exitCode,
      signal: signalCode ?? signalOfCode(exitCode ?? 0),
      cpuMs: spentMs > 0 ? Math.max(0, spentMs - wall.spentBefore) : null,
    },
  }
}

/** True if the kernel OOM-killed a process of the job at the limit of its own cgroup; false without one, and on a machine that was full. */
export function isKilledForMemory({ resources, killsAtClaim }: CountedWall): boolean {
  // Fails for a cgroup that another sweep has removed.
  return (attempt(() => killsAtLimit(resources.cgroup)) ?? 0) > killsAtClaim
}

/** True if a killed wall is gone before the time limit. */
export async function isGoneInTime(gone: Promise<void>): Promise<boolean> {
  const late = sleep(killMsMax, false, { ref: false })
  return await Promise.race([gone.then(() => true), late])
}

/** Resolves once a child has exited, or could not be started. */
export async function untilExit(child: SpawnedChild): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const { promise, resolve } = Promise.withResolvers<void>()
  child.once('exit', () => resolve())
  // Also emitted where a kill failed: such a child still runs.
  child.once('error', () => child.pid === undefined && resolve())
  await promise
}
