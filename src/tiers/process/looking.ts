import type { Voice } from '../../contract/event.ts'
import type { WardenClient } from '../../warden/client.ts'
import type { WallUsage } from '../../warden/protocol.ts'

/** As often as the warden is asked what a program uses; one that is over by then was not worth a look. */
const EVERY_MS = 100
const FIRST_MS = 25

/** What a program is seen to use while it runs, from outside; events say it, and `cpuMs` is the last that was seen. */
export interface Looking extends Disposable {
  readonly cpuMs: number
}

/** Looks from the release of user code on. One answer is waited for at a time; a wall that is gone is not asked again. */
export function lookAt(parts: {
  readonly warden: Pick<WardenClient, 'usage'>
  readonly wall: string
  readonly run: string
  readonly voice: Voice
}): Looking {
  const { warden, wall, run, voice } = parts
  let first: WallUsage | undefined
  let last: WallUsage | undefined
  let isOver = false
  let timer: NodeJS.Timeout | undefined

  async function look(): Promise<void> {
    const now = await warden.usage(wall).catch(() => undefined)
    if (!now || isOver) return
    first ??= now
    last = now
    const about = { run, zone: 'main', trust: 'wall', actor: 'warden' } as const
    const own = now.processes - first.processes + 1
    voice.say('seen/processes', { now: Math.max(0, own) }, about)
    voice.say('seen/memory', { bytes: now.bytes }, about)
    timer = setTimeout(() => void look(), EVERY_MS).unref()
  }

  timer = setTimeout(() => void look(), FIRST_MS).unref()
  return {
    get cpuMs() {
      return first && last ? Math.max(0, last.cpuMs - first.cpuMs) : 0
    },
    [Symbol.dispose]() {
      isOver = true
      clearTimeout(timer)
    },
  }
}
