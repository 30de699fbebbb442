import http from 'node:http'
import https from 'node:https'
import { setTimeout as wait } from 'node:timers/promises'

export interface OtlpRequest {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** Milliseconds per attempt. */
  readonly timeout: number
  readonly signal: AbortSignal
}

const triesMax = 4
const firstWaitMs = 250
const waitMsMax = 5_000
/** Retryable status codes of the OTLP specification. */
const retryable = new Set([429, 502, 503, 504])

/**
 * Posts a body; true if the collector accepted it. Retries with exponential back-off, up to `triesMax` attempts or
 * until aborted. Never throws.
 */
export async function sendToCollector(body: string, sending: OtlpRequest): Promise<boolean> {
  for (let tried = 1; ; tried += 1) {
    const { status, retryAfter } = await post(body, sending)
    if (status >= 200 && status < 300) return true
    const again = status === 0 || retryable.has(status)
    if (!again || tried === triesMax || sending.signal.aborted) return false
    const ms = Math.min(waitMsMax, Math.max(retryAfter * 1000, firstWaitMs * 2 ** (tried - 1)))
    await wait(ms, undefined, { signal: sending.signal, ref: false }).catch(() => undefined)
  }
}

interface Answer {
  /** 0: no response. */
  readonly status: number
  /** Seconds. */
  readonly retryAfter: number
}

/** Bytes read of a response body; a longer one costs the connection. */
const bodyBytesMax = 64 * 1024

/** Discards the response body. */
function post(body: string, { url, headers, timeout, signal }: OtlpRequest): Promise<Answer> {
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
      let bytes = 0
      answer.on('error', none).on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes > bodyBytesMax) answer.destroy()
      })
      const seconds = Number(answer.headers['retry-after'])
      resolve({ status: answer.statusCode ?? 0, retryAfter: seconds > 0 ? seconds : 0 })
    })
    outgoing.on('error', none)
    // No response and no error follow an answer that changes the protocol (101): Node only closes the connection.
    outgoing.on('close', none)
    outgoing.end(body)
  } catch {
    none()
  }
  return promise
}
