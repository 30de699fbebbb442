import type { Sink } from '../contract/event.ts'

/** Hears nothing: what the cost of speaking is measured against. */
export const nullSink: Sink = () => undefined
