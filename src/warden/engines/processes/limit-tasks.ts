import { limitTasksOf } from './bounds.ts'
import { waitChannelOf, threadStateOf, threadsOf } from '../../../os/proc.ts'
import { signalAll } from '../../../os/signal.ts'
import { processesOfWall } from './members.ts'
import type { WallResources } from './resources.ts'

/** Bound on passes: a process that was being forked while its parent was limited is found by the next pass. */
const PASSES_MAX = 20
const POLL_MS = 1
/**
 * Consecutive passes that must find no new process: `/proc/PID/task/TID/children` omits a child if the one before it is
 * reaped during the read (proc_pid_children(5)).
 */
const CLEAN_PASSES = 3
/** Ten times the longest fork that a wall's memory allows. */
const SETTLE_MS_MAX = 2_000
/** Polls of a thread in state D on a kernel that hides its wait channel (/proc/PID/wchan is 0). */
const CHECKS_MAX = 100
/** Wait channels of a parent in vfork(2), whose child exists already. */
const VFORKED = /vfork|^kernel_clone$/
/** Thread states in which no fork is in flight: asleep, stopped or dead. */
const OUTSIDE = new Set(['S', 'T', 't', 'I', 'Z', 'X'])

/** A thread that may be in a fork with the earlier limits. */
interface Suspect {
  readonly pid: number
  readonly tid: string
  looks: number
}

/**
 * Sets RLIMIT_NPROC of each process of a wall, against the race with fork: a child copies the limits when fork begins
 * and is visible when it ends, up to 100 ms later with much memory to copy. So each thread that may be in a fork is
 * stopped until its fork has ended, new children are limited, and all continue. `as` runs the calls with the privileges
 * to set these limits. Resolves when no process, present or in flight, has another limit; throws after 2 s.
 */
export async function limitTasksOfAll(
  resources: WallResources,
  tasks: number,
  as: (limit: () => void) => void = (limit) => limit(),
): Promise<void> {
  const limited = new Set<number>()
  const stopped = new Set<number>()
  const until = performance.now() + SETTLE_MS_MAX
  let suspects: readonly Suspect[] = []
  let clean = 0
  try {
    for (let pass = 0; ; pass++) {
      suspects = suspects.filter((one) => !isOutside(one))
      const fresh = processesOfWall(resources).filter((pid) => !limited.has(pid))
      as(() => {
        for (const pid of fresh) if (limitTasksOf(pid, tasks) <= tasks) limited.add(pid)
      })
      clean = fresh.length === 0 && suspects.length === 0 ? clean + 1 : 0
      if (clean === CLEAN_PASSES) return
      const late = fresh.flatMap(suspectsIn).filter((one) => !isOutside(one))
      for (const { pid } of late) stopped.add(pid)
      suspects = [...suspects, ...late]
      // Stopped again each pass: another process may have sent SIGCONT.
      signalAll([...new Set(suspects.map(({ pid }) => pid))], 'SIGSTOP')
      if (fresh.length > 0 && pass < PASSES_MAX) continue
      if (performance.now() > until)
        throw new Error('its processes fork faster than they are limited')
      await new Promise((resolve) => void setTimeout(resolve, POLL_MS))
    }
  } finally {
    if (!resources.isFrozen) signalAll([...stopped], 'SIGCONT')
  }
}

function suspectsIn(pid: number): readonly Suspect[] {
  return threadsOf(pid).map((tid) => ({ pid, tid, looks: 0 }))
}

function isOutside(suspect: Suspect): boolean {
  const state = threadStateOf(suspect.pid, suspect.tid)
  if (state !== 'D') return OUTSIDE.has(state)
  const place = waitChannelOf(suspect.pid, suspect.tid)
  suspect.looks++
  return VFORKED.test(place) || (/^0?$/.test(place) && suspect.looks > CHECKS_MAX)
}
