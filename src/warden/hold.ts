import { createSleep, type Sleep } from '../lib/sleep.ts'
import { residentBytes } from '../os/proc.ts'
import type { Pressure } from './pressure.ts'
import type { WallEnd } from '../contract/warden.ts'
import type { Watch } from './watch.ts'

/**
 * Holds a claimed wall to its memory and its deadline, from outside, whether or not the kernel does too. Every wall
 * with a job is looked at each few milliseconds: what a program can allocate in between is the slack.
 */
export interface Held {
  readonly wall: string
  readonly pid: number
  /** On the monotonic clock; sooner by what the machine slept since. */
  deadlineAt: number
  /** Resident bytes at which it is killed; Infinity where this layer is switched off by a test. */
  readonly residentMax: number
  peakBytes: number
  /** When it was last looked at. */
  bytes?: number
  /** Before its job, and whose that is. */
  readonly idleBytes?: number
  readonly tenant?: string | undefined
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
  /** Walls that have a job. */
  readonly active: Iterable<Held>
  close(): void
}

/** Where the kernel holds the memory too, and where nobody else does: a program allocates a gigabyte in half a second. */
/** Every so many looks the walls that rest are looked at too: what a broken worker does when nobody uses it counts. */
const RESTING_EVERY = 8
export const lookEveryMs = { beside: 10, alone: 2 } as const
/** As often as it is asked whether the machine slept. */
const SLEEP_LOOK_MS = 50

export interface HolderParts {
  readonly sleep?: Sleep
  /** Which walls have to go because the machine is short of memory. */
  readonly pressure?: Pressure | undefined
}

/** Looks every `everyMs` while a wall has a job; calls back for each that is over a bound. */
export function createHolder(
  end: (held: Held, how: WallEnd) => void,
  everyMs: number,
  { sleep = createSleep(), pressure }: HolderParts = {},
): Holder {
  const walls = new Map<string, Held>()
  const active = new Set<Held>()
  let looks = 0
  let sleepLookAt = 0
  let timer: NodeJS.Timeout | undefined

  function look(): void {
    const now = performance.now()
    looks = (looks + 1) % RESTING_EVERY
    if (now >= sleepLookAt) age(now)
    for (const held of looks === 0 ? walls.values() : active) {
      const how = whyOver(held, now)
      if (how) finish(held, how)
    }
    for (const victim of pressure?.(active, now) ?? []) finish(victim, 'pressure')
  }

  /** Lives go on while the machine sleeps. */
  function age(now: number): void {
    sleepLookAt = now + SLEEP_LOOK_MS
    const slept = sleep.look()
    if (slept > 0) for (const held of walls.values()) held.deadlineAt -= slept
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
    active,
    close: stop,
  }

  function watch(held: Held): void {
    active.add(held)
    if (timer) return
    // What it slept before is nobody's.
    sleep.look()
    timer = setInterval(() => (walls.size > 0 ? look() : stop()), everyMs)
  }

  function stop(): void {
    clearInterval(timer)
    timer = undefined
  }
}

/** One that cannot be looked at is held by nobody, and must not keep the others from being looked at. */
function whyOver(held: Held, now: number): WallEnd | undefined {
  try {
    const seen = held.watch?.(now)
    held.bytes = seen?.bytes ?? residentBytes(held.pid)
    held.peakBytes = Math.max(held.peakBytes, held.bytes)
    if (held.peakBytes > held.residentMax || seen?.isBeyond) return 'memory'
    return now >= held.deadlineAt ? 'deadline' : undefined
  } catch {
    return 'killed'
  }
}
