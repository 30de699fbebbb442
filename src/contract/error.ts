import type { Remedy } from './remedy.ts'

/**
 * Thrown for a bug, a broken host or a request that never became a job; the end of a job is a
 * value, the Outcome. Codes are stable; `message` is for the client, `detail` for the log alone.
 */
export const errorCodes = {
  // Requests
  SYNTAX: 400,
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  REQUEST_TIMEOUT: 408,
  CONFLICT: 409,
  BUSY: 409,
  SESSION_ENDED: 410,
  TOO_LARGE: 413,
  UNSUPPORTED_MEDIA_TYPE: 415,
  MISDIRECTED: 421,
  INVALID: 422,
  RATE_LIMITED: 429,
  HEADERS_TOO_LARGE: 431,
  // Before a job ran
  THREAT_DETECTED: 403,
  SIGNATURE_REQUIRED: 403,
  SIGNATURE_INVALID: 403,
  SIGNER_UNKNOWN: 403,
  TIER_TOO_WEAK: 403,
  IMAGE_REFUSED: 403,
  LANGUAGE_UNSUPPORTED: 422,
  FORK_UNSUPPORTED: 422,
  // Not possible here, or not now
  UNAVAILABLE: 503,
  NO_WALL: 503,
  NO_JAIL: 503,
  PROVIDER_UNTRUSTED: 503,
  PROVIDER_BROKEN: 503,
  PROVIDER_UNPROVED: 503,
  OVERLOADED: 503,
  DRAINING: 503,
  DISK_FULL: 503,
  PACKAGE_BROKEN: 503,
  IMAGE_BROKEN: 503,
  FEED_BROKEN: 422,
  LAYOUT_BROKEN: 422,
  // Configuration
  CONFIG: 500,
  CONFIG_UNTRUSTED: 500,
  STATE: 500,
  // Faults of Mayfly or of this machine
  INTERNAL: 500,
  WARDEN_LOST: 500,
  PROTOCOL: 500,
  USAGE: 400,
} as const satisfies Record<string, number>

export type ErrorCode = keyof typeof errorCodes

export interface ErrorParts {
  /** Remedy in one sentence; of a fault of Mayfly or of the machine it is the operator's. */
  readonly hint?: string
  /** Changes of the request that message or hint name by `remedyText`: each entry point words them for its caller. */
  readonly remedies?: readonly Remedy[]
  /** Structured facts for the client: paths, limits, positions. Never a secret. */
  readonly details?: unknown
  /** For the log alone. */
  readonly detail?: string
  readonly retryAfterMs?: number
  readonly cause?: unknown
}

export class MayflyError extends Error {
  override readonly name = 'MayflyError'
  readonly code: ErrorCode
  readonly hint: string | undefined
  readonly remedies: readonly Remedy[]
  readonly details: unknown
  readonly detail: string | undefined
  readonly retryAfterMs: number | undefined

  /** `message`: sentence case, active voice, values in quotes, no final stop. */
  constructor(code: ErrorCode, message: string, parts: ErrorParts = {}) {
    super(message, { cause: parts.cause })
    this.code = code
    this.hint = parts.hint
    this.remedies = parts.remedies ?? []
    this.details = parts.details
    this.detail = parts.detail
    this.retryAfterMs = parts.retryAfterMs
  }

  get status(): number {
    return errorCodes[this.code]
  }
}

/** End of a job that the record refused after its wall was claimed: its code may have run, so nothing may run it again unasked. */
export class UnrecordedEndError extends MayflyError {
  constructor({ code, message, hint, details, detail, cause }: MayflyError) {
    super(code, `${message}; the code of the job may have run`, {
      ...(hint !== undefined && { hint }),
      ...(detail !== undefined && { detail }),
      details,
      cause,
    })
  }
}

/** True if the hint is for the caller: the remedy of a fault is the operator's, and may name files of this machine. */
export function isHintOfCaller({ status, code, hint }: MayflyError): boolean {
  return hint !== undefined && (status < 500 || code === 'OVERLOADED')
}

/** True for a failure, false for codes that mean "does not exist" or "not now". */
export function isBroken(thrown: unknown): boolean {
  const code = thrown instanceof MayflyError ? thrown.code : 'INTERNAL'
  return code === 'INTERNAL' || code === 'WARDEN_LOST' || code === 'PROTOCOL'
}

/** Error of a call on a Mayfly that was closed. */
export function closedError(): MayflyError {
  return new MayflyError('CONFLICT', 'Cannot use Mayfly: it was closed')
}

/** Message of any thrown value, which may not be an Error, and may have no text at all. */
export function messageOf(thrown: unknown): string {
  try {
    return String(thrown instanceof Error ? thrown.message : thrown)
  } catch {
    return 'Something without a text was thrown'
  }
}
