import { residentBytes } from '../os/proc.ts'
import type { WallEnd } from './protocol.ts'

/**
 * Holds a claimed wall to its memory and its deadline, from outside, whether or not the kernel does too. Every wall
 * with a job is looked at each few milliseconds: what a program can allocate in between is the slack.
 */
export interface Held {
  readonly wall: string
  readonly pid: number
  /** On the monotonic clock. */
  readonly deadlineAt: number
  /** Resident bytes at which it is killed; Infinity where this layer is switched off by a test. */
  readonly residentMax: number
  peakBytes: number
}

export interface Holder {
  hold(held: Held): void
  release(wall: string): Held | undefined
  close(): void
}

const LOOK_EVERY_MS = 10

export function createHolder(end: (held: Held, how: WallEnd) => void): Holder {
  const walls = new Map<string, Held>()
  let timer: NodeJS.Timeout | undefined

  function look(): void {
    const now = performance.now()
    for (const held of walls.values()) {
      held.peakBytes = Math.max(held.peakBytes, residentBytes(held.pid))
      if (held.peakBytes > held.residentMax) finish(held, 'memory')
      else if (now >= held.deadlineAt) finish(held, 'deadline')
    }
  }

  function finish(held: Held, how: WallEnd): void {
    walls.delete(held.wall)
    end(held, how)
  }

  return {
    hold(held) {
      walls.set(held.wall, held)
      timer ??= setInterval(() => (walls.size > 0 ? look() : stop()), LOOK_EVERY_MS)
    },
    release(wall) {
      const held = walls.get(wall)
      walls.delete(wall)
      return held
    },
    close: stop,
  }

  function stop(): void {
    clearInterval(timer)
    timer = undefined
  }
}
