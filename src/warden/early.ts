import type { EnclosureSpec } from '../contract/engine.ts'
import type { WardenOptions } from '../contract/warden-options.ts'
import type { Reply } from '../contract/warden.ts'
import { Warden } from './warden.ts'

/** A warden whose messages are queued until its owner listens. */
export interface EarlyWarden {
  readonly warden: Warden
  listen(push: (reply: Reply) => void): void
}

/** Starts walls at once, before anything else of Mayfly is loaded. */
export function openEarly(
  options: WardenOptions,
  ahead: readonly EnclosureSpec[] = [],
): EarlyWarden {
  const kept: Reply[] = []
  let listener: ((reply: Reply) => void) | undefined
  const warden = new Warden(options, (reply) =>
    listener ? listener(reply) : void kept.push(reply),
  )
  for (const wanted of ahead) warden.startAhead(wanted)
  return {
    warden,
    listen(push) {
      listener = push
      for (const reply of kept.splice(0)) push(reply)
    },
  }
}
