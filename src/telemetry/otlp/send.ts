import http from 'node:http'
import https from 'node:https'
import { setTimeout as wait } from 'node:timers/promises'

export interface Sending {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** Milliseconds for one try. */
  readonly timeout: number
  readonly signal: AbortSignal
}

const triesMax = 4
const firstWaitMs = 250
const waitMsMax = 5_000
/** Those that the protocol says to try again. */
const passing = new Set([429, 502, 503, 504])

/** Posts one body; true once a collector took it. Gives up after `triesMax` tries, or when told to. Never throws. */
export async function send(body: string, sending: Sending): Promise<boolean> {
  for (let tried = 1; ; tried += 1) {
    const { status, retryAfter } = await post(body, sending)
    if (status >= 200 && status < 300) return true
    const again = status === 0 || passing.has(status)
    if (!again || tried === triesMax || sending.signal.aborted) return false
    const ms = Math.min(waitMsMax, Math.max(retryAfter * 1000, firstWaitMs * 2 ** (tried - 1)))
    await wait(ms, undefined, { signal: sending.signal, ref: false }).catch(() => undefined)
  }
}

interface Answer {
  /** 0 where there was none. */
  readonly status: number
  /** Seconds. */
  readonly retryAfter: number
}

/** The answer's body is of no interest, and is not kept. */
function post(body: string, { url, headers, timeout, signal }: Sending): Promise<Answer> {
  const { promise, resolve } = Promise.withResolvers<Answer>()
  const none = (): void => resolve({ status: 0, retryAfter: 0 })
  const { request } = url.startsWith('https:') ? https : http
  try {
    const outgoing = request(url, {
      method: 'POST',
      headers: {
        ...headers,
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
      },
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeout)]),
    })
    outgoing.on('response', (answer) => {
      answer.on('error', none).resume()
      const seconds = Number(answer.headers['retry-after'])
      resolve({ status: answer.statusCode ?? 0, retryAfter: seconds > 0 ? seconds : 0 })
    })
    outgoing.on('error', none)
    outgoing.end(body)
  } catch {
    none()
  }
  return promise
}
