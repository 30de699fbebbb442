import { MayflyError } from '../contract/error.ts'
import type { Emitter } from '../contract/event.ts'
import type { WardenClient } from './client.ts'
import type { WallUsage } from '../contract/warden.ts'

/** Milliseconds between two samples; a guest that ends before the first is not sampled. */
const EVERY_MS = 100
const FIRST_MS = 25
/**
 * Longest interval, for a sleeping guest: a hundred of them, each sampled every 100 ms, used one core of warden and
 * server.
 */
const QUIET_MS = 500
const QUIET_CPU_MS = 1
const QUIET_BYTES = 64 * 2 ** 10

/**
 * Periodic usage samples of a running guest, measured outside of it and emitted as events; `cpuMs` is of the last
 * sample.
 */
export interface UsageSamples extends Disposable {
  readonly cpuMs: number
  /** Takes a last sample of a guest that has ended, if there was a first one: its own count may be a lie. Never rejects. */
  settle(): Promise<void>
}

/**
 * Samples from the release of user code on, one request at a time; stops when the wall is gone. After any other failure it goes on: what
 * depends on CPU time would stand still for the rest of the life.
 */
export function sampleUsage(parts: {
  readonly warden: Pick<WardenClient, 'usage'>
  readonly wall: string
  readonly run: string
  readonly zone?: string | undefined
  readonly emitter: Emitter
  /** Called before the first sample. */
  readonly begin?: () => void
  /**
   * True for a guest that cannot start a process: then no event is emitted at its release, where an end frame may
   * already be queued.
   */
  readonly isAlone?: boolean
}): UsageSamples {
  const { warden, wall, run, zone = 'main', emitter, begin, isAlone = false } = parts
  const about = { run, zone, trust: 'wall', actor: 'warden' } as const
  let first: WallUsage | undefined
  let last: WallUsage | undefined
  let isOver = false
  let waitMs = EVERY_MS
  let timer: NodeJS.Timeout | undefined

  async function sample(): Promise<void> {
    const now = await warden.usage(wall).catch((error: unknown) => {
      isOver ||= error instanceof MayflyError && error.code === 'NOT_FOUND'
    })
    if (isOver) return
    const isSlow = !now || (last && isQuiet(last, now))
    waitMs = isSlow ? Math.min(QUIET_MS, waitMs * 2) : EVERY_MS
    if (now) tell(now)
    timer = setTimeout(() => void sample(), waitMs).unref()
  }

  function tell(now: WallUsage): void {
    first ??= now
    last = now
    emitter.emit('seen/processes', { now: now.processes + 1 }, about)
    emitter.emit('seen/memory', { bytes: now.bytes }, about)
    emitter.emit('seen/cpu', workOf(first, now), about)
  }

  // At its release it is one process; the first sample may find many.
  if (!isAlone) emitter.emit('seen/processes', { now: 1 }, about)
  timer = setTimeout(() => {
    begin?.()
    void sample()
  }, FIRST_MS).unref()
  return {
    get cpuMs() {
      return first && last ? Math.max(0, last.cpuMs - first.cpuMs) : 0
    },
    async settle() {
      if (first) last = (await warden.usage(wall).catch(() => undefined)) ?? last
    },
    [Symbol.dispose]() {
      isOver = true
      clearTimeout(timer)
    },
  }
}

function isQuiet(before: WallUsage, now: WallUsage): boolean {
  return (
    now.processes === before.processes &&
    now.cpuMs - before.cpuMs <= QUIET_CPU_MS &&
    Math.abs(now.bytes - before.bytes) < QUIET_BYTES
  )
}

/** CPU time since the first sample, and time that it was runnable and waited for a CPU. */
function workOf(first: WallUsage, now: WallUsage): Readonly<Record<string, number>> {
  const since = (name: 'cpuMs' | 'waitedMs' | 'atMs') => Math.max(0, now[name] - first[name])
  return { used: since('cpuMs'), waited: since('waitedMs'), at: since('atMs') }
}
