import type { TimelineEntry } from '../../contract/event.ts'
import type { OutputListener } from '../../contract/pipeline.ts'

/**
 * Frames of a stream, over SSE and WebSocket; `outcome` is always last, or `problem` if there is none. `plan` comes
 * first, only for active content: the planned life, for a page that draws it.
 */
export type FrameName = 'plan' | 'stdout' | 'stderr' | 'event' | 'outcome' | 'problem'

/**
 * Sends one frame, `data` as JSON text. A returned promise is back-pressure: send no more until it settles. Never
 * throws.
 */
export type Send = (name: FrameName, data: string) => void | Promise<void>

/** Connects the pipeline's tap and timeline to `send`. */
export function listeners(send: Send): { tap: OutputListener; on: (entry: TimelineEntry) => void } {
  return {
    tap: (stream, text) => send(stream, JSON.stringify({ text })),
    on: (entry) => void send('event', JSON.stringify(entry)),
  }
}
