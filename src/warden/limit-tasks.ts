import { limitResource, resourceLimit } from '../os/libc.js'
import { placeOf, stateOf, threadsOf } from '../os/proc.ts'
import { processesOfWall, signalAll, type Taken } from './taken.ts'

/** A process that was being made while its maker was limited is found by the next pass. */
const PASSES_MAX = 20
const POLL_MS = 1
/** The longest fork that a wall's memory allows is a tenth of this. */
const SETTLE_MS_MAX = 2_000
/** Of a kernel that does not say where somebody waits. */
const LOOKS_MAX = 100
/** Where who has called vfork waits for its child, which is there already. */
const VFORKED = /vfork|^kernel_clone$/
/** Asleep, stopped or over: none of these is making a process. */
const OUTSIDE = new Set(['S', 'T', 't', 'I', 'Z', 'X'])

/** A thread that may be making a process with the limits of before. */
interface Suspect {
  readonly pid: number
  readonly tid: string
  looks: number
}

/**
 * Bounds the tasks of a wall by a limit of each of its processes, which their children get. A fork takes its copy of the
 * limits when it begins, and its child is seen when it is over, up to a tenth of a second later where it has much to
 * copy: so whoever may be in one is stopped until it is in none, its child is limited before it was ever run for long,
 * and all go on. `as` is whoever may set limits there. Resolves when no process of it, and none that is still to come,
 * has another limit; throws where that does not come to be.
 */
export async function limitTasksOfAll(
  taken: Taken,
  tasks: number,
  as: (limit: () => void) => void = (limit) => limit(),
): Promise<void> {
  const limited = new Set<number>()
  const stopped = new Set<number>()
  const until = performance.now() + SETTLE_MS_MAX
  let suspects: readonly Suspect[] = []
  try {
    for (let pass = 0; ; pass++) {
      suspects = suspects.filter((one) => !isOutside(one))
      const fresh = processesOfWall(taken).filter((pid) => !limited.has(pid))
      as(() => {
        for (const pid of fresh) if (limitOne(pid, tasks)) limited.add(pid)
      })
      if (fresh.length === 0 && suspects.length === 0) return
      const late = fresh.flatMap(suspectsIn).filter((one) => !isOutside(one))
      for (const { pid } of late) stopped.add(pid)
      suspects = [...suspects, ...late]
      // Whoever was woken by somebody else, too.
      signalAll([...new Set(suspects.map(({ pid }) => pid))], 'SIGSTOP')
      if (fresh.length > 0 && pass < PASSES_MAX) continue
      if (performance.now() > until)
        throw new Error('its processes multiply faster than they are limited')
      await new Promise((resolve) => void setTimeout(resolve, POLL_MS))
    }
  } finally {
    if (!taken.isFrozen) signalAll([...stopped], 'SIGCONT')
  }
}

function suspectsIn(pid: number): readonly Suspect[] {
  return threadsOf(pid).map((tid) => ({ pid, tid, looks: 0 }))
}

function isOutside(suspect: Suspect): boolean {
  const state = stateOf(suspect.pid, suspect.tid)
  if (state !== 'D') return OUTSIDE.has(state)
  const place = placeOf(suspect.pid, suspect.tid)
  suspect.looks++
  return VFORKED.test(place) || (/^0?$/.test(place) && suspect.looks > LOOKS_MAX)
}

function limitOne(pid: number, tasks: number): boolean {
  try {
    limitResource('nproc', tasks, pid)
    return resourceLimit('nproc', pid) <= tasks
  } catch (error) {
    if ((error as { readonly code?: string }).code === 'ESRCH') return true
    throw error
  }
}
