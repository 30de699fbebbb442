import { AsyncLocalStorage } from 'node:async_hooks'
import { MayflyError } from '../../contract/error.ts'
import type { LoopLimiter } from '../../lib/loop-limiter.ts'
import { JsonDepth } from './json-depth.ts'

/** Exchange with a server: a call, or a list with all of its pages. */
interface Exchange {
  /** Aborts after its end. */
  readonly signal: AbortSignal
  /** Bytes of its responses so far. */
  bytes: number
}

/** Exchange to which a request of this async context belongs. */
export const exchanges = new AsyncLocalStorage<Exchange>()

/**
 * A fetch for the transport of an MCP client. It fails after `bytesMax` bytes of all response bodies of an exchange, whatever
 * content-length they have, at JSON nested too deep, and with the end of its exchange: a server may leave a stream open, or end
 * each stream and ask the client to ask again, without end. Streams that belong to no call are not opened. Each part of a body
 * is passed on in a turn of the limiter, which so counts the time that the client takes to parse it.
 */
export function boundedFetch(bytesMax: number, limiter: Pick<LoopLimiter, 'run'>): typeof fetch {
  return async (input, init = {}) => {
    const isStream = init.method === 'GET'
    if (isStream && !new Headers(init.headers).has('last-event-id'))
      return new Response(null, { status: 405 })
    const exchange = exchanges.getStore() ?? { signal: undefined, bytes: 0 }
    const signals = [init.signal, exchange.signal].filter((one) => one instanceof AbortSignal)
    // A redirect would send the credentials in the headers to an address that the operator did not configure.
    const response = await fetch(input, {
      ...init,
      signal: AbortSignal.any(signals),
      redirect: 'error',
    })
    if (!response.body) return response
    const depth = new JsonDepth()
    const count = (chunk: Uint8Array): void => {
      exchange.bytes += chunk.length
      const isLong = exchange.bytes > bytesMax
      const isDeep = !isLong && !depth.passes(chunk)
      if (!isLong && !isDeep) return
      const what = isDeep ? 'JSON this deep' : `more than ${bytesMax} bytes`
      throw new MayflyError('TOO_LARGE', `Cannot read ${what} from a server`)
    }
    const body = inTurns(response.body, count, limiter)
    const { status, statusText, headers } = response
    return new Response(body, { status, statusText, headers })
  }
}

function inTurns(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  count: (chunk: Uint8Array) => void,
  limiter: Pick<LoopLimiter, 'run'>,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const reader = body.getReader()
  const turn = (work: () => void) => limiter.run(work, () => true)
  return new ReadableStream(
    {
      async pull(controller) {
        const { done, value } = await reader.read()
        if (done) return await turn(() => controller.close())
        try {
          await turn(() => {
            count(value)
            controller.enqueue(value)
          })
        } catch (thrown) {
          await reader.cancel(thrown)
          throw thrown
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  )
}
