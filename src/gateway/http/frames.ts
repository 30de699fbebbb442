import type { TimelineEntry } from '../../contract/event.ts'
import type { OutputListener } from '../../contract/pipeline.ts'

/**
 * What a stream sends, by SSE as by WebSocket; always last is `outcome`, or `problem` where there is none. `plan` comes
 * first, and only for active content: what its life is to be, for a page that draws it.
 */
export type FrameName = 'plan' | 'stdout' | 'stderr' | 'event' | 'outcome' | 'problem'

/** Sends one frame, `data` as JSON text. A promise asks not to be sent more until it settles; never throws. */
export type Send = (name: FrameName, data: string) => void | Promise<void>

/** What the road is to be given, so that `send` hears a job while it runs. */
export function listeners(send: Send): { tap: OutputListener; on: (entry: TimelineEntry) => void } {
  return {
    tap: (stream, text) => send(stream, JSON.stringify({ text })),
    on: (entry) => void send('event', JSON.stringify(entry)),
  }
}
