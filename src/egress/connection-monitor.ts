import type { EgressConnection } from './open-connection.ts'
import type { EgressRequest } from './rules.ts'

/** Callbacks of a live connection, which may cut it. */
export interface ConnectionMonitor {
  /** A connection to the outside is open. */
  opened(request: EgressRequest, connection: EgressConnection): void
  /**
   * Reserves bytes before they are written (`sending`) or counts those read (`received`); false if the budget is
   * exceeded.
   */
  sending(bytes: number): boolean
  /** Checks readable outgoing data; false if blocked. */
  passes(piece: Buffer): boolean
  received(): boolean
  /**
   * Parses received bytes within the run's share of event-loop time; undefined if the connection ends before. Rejects
   * as `work` throws.
   */
  parse<T>(work: () => T): Promise<T | undefined>
  cut(because: string): void
}

/** Cuts the connection when a parser throws RangeError. */
export async function cutOnParseError(
  watch: ConnectionMonitor,
  what: string,
  read: () => Promise<void>,
) {
  try {
    await read()
  } catch (thrown) {
    if (!(thrown instanceof RangeError)) throw thrown
    watch.cut(`${what} cannot be read: ${thrown.message}`)
  }
}
