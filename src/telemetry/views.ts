import type { Sink } from '../contract/event.ts'
import { Meters } from './meters.ts'
import { Threats } from './threats.ts'

/** Views of the stream that a server exposes. */
export interface Views {
  readonly meters: Meters
  readonly threats: Threats
  readonly sinks: readonly Sink[]
}

export function createViews(): Views {
  const [meters, threats] = [new Meters(), new Threats()]
  return { meters, threats, sinks: [meters.sink, threats.sink] }
}
