/** Limits of the HTTP endpoints. Each bounds a resource that a remote client could otherwise grow. */
export interface GatewayLimits {
  /** Bytes of one request body, and of all bodies being read. */
  readonly bodyBytes: number
  readonly bodiesBytes: number
  /** The same for unauthenticated clients. */
  readonly anonymousBodyBytes: number
  readonly anonymousBodiesBytes: number
  /** Milliseconds for receiving headers, for receiving the body, and for an idle reader of an answer. */
  readonly headersMs: number
  readonly bodyMs: number
  readonly writeMs: number
  readonly keepAliveMs: number
  /** Bytes and lines of one request's headers. */
  readonly headerBytes: number
  readonly headerLines: number
  readonly connections: number
  /** Jobs between request and outcome; the pipeline has its own queue behind it. */
  readonly running: number
  /** Bytes of those jobs' bodies, and of answers that clients have not read; pages have half of the latter. */
  readonly runningBytes: number
  readonly answersBytes: number
  /** Requests a minute: of one key without scope admin, one address without a key, one page session. */
  readonly keyPerMinute: number
  readonly addressPerMinute: number
  readonly sessionPerMinute: number
  /** Session tokens a minute for one address. */
  readonly tokensPerMinute: number
  /** Orders a minute to live sandboxes, of one key without scope admin. */
  readonly operatePerMinute: number
  /** Concurrent jobs of one page session, and the lifetime of its token. */
  readonly sessionRunning: number
  readonly sessionMs: number
  /** Open sessions of all visitors of pages. */
  readonly pageSessions: number
}

export const defaultLimits: GatewayLimits = {
  bodyBytes: 32 * 2 ** 20,
  bodiesBytes: 256 * 2 ** 20,
  anonymousBodyBytes: 2 * 2 ** 20,
  anonymousBodiesBytes: 32 * 2 ** 20,
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
  tokensPerMinute: 300,
  sessionRunning: 2,
  sessionMs: 3_600_000,
  pageSessions: 16,
}
