import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Clock } from '../../contract/clock.ts'
import { MayflyError } from '../../contract/error.ts'
import { unauthenticated } from './auth.ts'
import type { GatewayLimits } from './limits.ts'
import { RateLimit } from './rate-limit.ts'
import { parseJson } from '../../lib/parse-json.ts'

/** Page load to which a token is bound. */
export interface VisitorSession {
  readonly id: string
  readonly origin: string
  /** Path of the page. */
  readonly page: string
}

/** Origin and page of a request; undefined for clients other than browsers. */
export interface Sender {
  readonly origin: string | undefined
  readonly page: string | undefined
}

export type SessionLimits = Pick<GatewayLimits, 'sessionMs' | 'sessionRunning' | 'sessionPerMinute'>

const TOKEN = /^mfs_([A-Za-z0-9_-]{1,2000})\.([A-Za-z0-9_-]{43})$/

/**
 * Session tokens: one per page load, with 128 random bits, bound to an origin, a page and an expiry. Signed with
 * HMAC-SHA-256 under a secret of this process: no state per page load, and no token survives a restart.
 */
export class SessionTokens {
  readonly #secret = randomBytes(32)
  readonly #running = new Map<string, number>()
  readonly #rate: RateLimit
  readonly #limits: () => SessionLimits
  readonly #clock: Clock

  /** Limits are read each time, because they can change at run time. */
  constructor(limits: () => SessionLimits, clock: Clock) {
    this.#limits = limits
    this.#clock = clock
    this.#rate = new RateLimit(() => limits().sessionPerMinute, clock)
  }

  issue(origin: string, page: string): string {
    const expires = Math.ceil(this.#clock.now() + this.#limits().sessionMs)
    const id = randomBytes(16).toString('base64url')
    const body = Buffer.from(JSON.stringify([id, expires, origin, page])).toString('base64url')
    return `mfs_${body}.${this.#sign(body)}`
  }

  /** Throws MayflyError UNAUTHENTICATED for a token that is forged, expired, or of another origin or page. */
  verify(token: unknown, sender: Sender): VisitorSession {
    const [, body, signature] = (typeof token === 'string' && TOKEN.exec(token)) || []
    if (body === undefined || signature === undefined)
      throw unauthenticated('Give a session token or an API key')
    if (!timingSafeEqual(Buffer.from(this.#sign(body)), Buffer.from(signature)))
      throw refused('it was not issued by this server')
    const [id, expires, origin, page] = parseJson(Buffer.from(body, 'base64url').toString()) as [
      string,
      number,
      string,
      string,
    ]
    if (this.#clock.now() >= expires) throw refused('it has expired; load the page again')
    if (sender.origin !== undefined && sender.origin !== origin)
      throw refused('it belongs to another origin')
    if (sender.page !== undefined && sender.page !== page)
      throw refused('it belongs to another page')
    return { id, origin, page }
  }

  /** Takes a job slot of the session; dispose to release it. Throws MayflyError RATE_LIMITED. */
  begin(session: VisitorSession): Disposable {
    const running = this.#running.get(session.id) ?? 0
    if (running >= this.#limits().sessionRunning)
      throw tooMany(`${running} jobs of this page are running`, 1000)
    this.take(session)
    this.#running.set(session.id, running + 1)
    return { [Symbol.dispose]: () => this.#end(session.id) }
  }

  /** Charges one job to the rate limit of the session. Throws MayflyError RATE_LIMITED. */
  take(session: VisitorSession): void {
    const wait = this.#rate.take(session.id)
    if (wait > 0) throw tooMany('this page has used up its minute', wait)
  }

  #end(id: string): void {
    const running = this.#running.get(id)! - 1
    if (running > 0) this.#running.set(id, running)
    else this.#running.delete(id)
  }

  /** Compared as text, so that non-canonical base64url spellings are rejected. */
  #sign(body: string): string {
    return createHmac('sha256', this.#secret).update(body).digest('base64url')
  }
}

function refused(why: string): MayflyError {
  return unauthenticated(`Cannot accept this session token: ${why}`, 'invalid_token')
}

function tooMany(why: string, retryAfterMs: number): MayflyError {
  return new MayflyError('RATE_LIMITED', `Cannot accept another job now: ${why}`, { retryAfterMs })
}
