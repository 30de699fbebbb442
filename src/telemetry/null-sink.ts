import type { Sink } from '../contract/event.ts'

/** Discards events: baseline for measuring the cost of the stream. */
export const nullSink: Sink = () => undefined
