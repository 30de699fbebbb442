/** What the doors hold at most. Each number is a bound on something a stranger could otherwise make grow. */
export interface GatewayLimits {
  /** Bytes of one request body, and of all bodies being read at once. */
  readonly bodyBytes: number
  readonly bodiesBytes: number
  /** The same of whoever has shown no key yet. */
  readonly strangerBodyBytes: number
  readonly strangerBodiesBytes: number
  /** Milliseconds a client may take for its headers, for its body, and for reading more of an answer. */
  readonly headersMs: number
  readonly bodyMs: number
  readonly writeMs: number
  readonly keepAliveMs: number
  /** Bytes and lines of one request's headers. */
  readonly headerBytes: number
  readonly headerLines: number
  readonly connections: number
  /** Jobs between door and outcome; the road has a queue of its own behind it. */
  readonly running: number
  /** Bytes that those brought, and of kept outcomes that somebody reads. */
  readonly runningBytes: number
  readonly answersBytes: number
  /** Requests a minute of one key without scope admin, of one address without a key, of one page load. */
  readonly keyPerMinute: number
  readonly addressPerMinute: number
  readonly sessionPerMinute: number
  /** Orders a minute for live sandboxes, of one key without scope admin. */
  readonly operatePerMinute: number
  /** Jobs at once of one page load, and how long its token lasts. */
  readonly sessionRunning: number
  readonly sessionMs: number
}

export const defaultLimits: GatewayLimits = {
  bodyBytes: 32 * 2 ** 20,
  bodiesBytes: 256 * 2 ** 20,
  strangerBodyBytes: 2 * 2 ** 20,
  strangerBodiesBytes: 32 * 2 ** 20,
  headersMs: 10_000,
  bodyMs: 30_000,
  writeMs: 60_000,
  keepAliveMs: 5_000,
  headerBytes: 16 * 2 ** 10,
  headerLines: 100,
  connections: 2_000,
  running: 1_000,
  runningBytes: 512 * 2 ** 20,
  answersBytes: 256 * 2 ** 20,
  keyPerMinute: 6_000,
  operatePerMinute: 120,
  addressPerMinute: 600,
  sessionPerMinute: 60,
  sessionRunning: 2,
  sessionMs: 3_600_000,
}
