import { residentBytes } from '../os/proc.ts'
import type { WallEnd } from './protocol.ts'
import type { Watch } from './watch.ts'

/**
 * Holds a claimed wall to its memory and its deadline, from outside, whether or not the kernel does too. Every wall
 * with a job is looked at each few milliseconds: what a program can allocate in between is the slack.
 */
export interface Held {
  readonly wall: string
  readonly pid: number
  /** On the monotonic clock. */
  deadlineAt: number
  /** Resident bytes at which it is killed; Infinity where this layer is switched off by a test. */
  readonly residentMax: number
  peakBytes: number
  /** For a wall of many processes, in place of a look at `pid` alone. */
  readonly watch?: Watch
}

export interface Holder {
  hold(held: Held): void
  /** Other bounds for a wall that is held. */
  change(wall: string, to: Pick<Held, 'residentMax'> & { readonly watch: Watch }): void
  /** A held wall that rests gets its next job: the memory bound never went away. False when it is not held. */
  arm(wall: string, deadlineAt: number): boolean
  /** Its job is over: the deadline goes, the memory bound stays. */
  rest(wall: string): Held | undefined
  forget(wall: string): Held | undefined
  close(): void
}

/** Where the kernel holds the memory too, and where nobody else does: a program allocates a gigabyte in half a second. */
/** Every so many looks the walls that rest are looked at too: what a broken worker does when nobody uses it counts. */
const RESTING_EVERY = 8
export const lookEveryMs = { beside: 10, alone: 2 } as const

/** Looks every `everyMs` while a wall has a job; calls back for each that is over a bound. */
export function createHolder(end: (held: Held, how: WallEnd) => void, everyMs: number): Holder {
  const walls = new Map<string, Held>()
  const active = new Set<Held>()
  let looks = 0
  let timer: NodeJS.Timeout | undefined

  function look(): void {
    const now = performance.now()
    looks = (looks + 1) % RESTING_EVERY
    for (const held of looks === 0 ? walls.values() : active) {
      const seen = held.watch?.(now)
      held.peakBytes = Math.max(held.peakBytes, seen?.bytes ?? residentBytes(held.pid))
      if (held.peakBytes > held.residentMax || seen?.isBeyond) finish(held, 'memory')
      else if (now >= held.deadlineAt) finish(held, 'deadline')
    }
  }

  function finish(held: Held, how: WallEnd): void {
    active.delete(held)
    walls.delete(held.wall)
    end(held, how)
  }

  return {
    hold(held) {
      walls.set(held.wall, held)
      watch(held)
    },
    change(wall, to) {
      const held = walls.get(wall)
      if (!held) return
      const changed = { ...held, ...to }
      walls.set(wall, changed)
      if (active.delete(held)) active.add(changed)
    },
    arm(wall, deadlineAt) {
      const held = walls.get(wall)
      if (!held) return false
      held.deadlineAt = deadlineAt
      held.peakBytes = 0
      watch(held)
      return true
    },
    rest(wall) {
      const held = walls.get(wall)
      if (!held) return undefined
      active.delete(held)
      const { peakBytes } = held
      held.deadlineAt = Infinity
      held.peakBytes = 0
      return { ...held, peakBytes }
    },
    forget(wall) {
      const held = walls.get(wall)
      walls.delete(wall)
      if (held) active.delete(held)
      return held
    },
    close: stop,
  }

  function watch(held: Held): void {
    active.add(held)
    timer ??= setInterval(() => (walls.size > 0 ? look() : stop()), everyMs)
  }

  function stop(): void {
    clearInterval(timer)
    timer = undefined
  }
}
