import { AsyncLocalStorage } from 'node:async_hooks'
import { MayflyError } from '../../contract/error.ts'
import { JsonDepth } from './json-depth.ts'

/** Signal of the exchange (a call, a list) to which a request of this async context belongs; aborts after its end. */
export const exchanges = new AsyncLocalStorage<AbortSignal>()

/**
 * A fetch for the transport of an MCP client. It fails after `bytesMax` bytes of a response body, whatever content-length it has, at JSON nested too deep, and with
 * the end of its exchange: a server may leave a stream open, or end each stream and ask the client to ask again, without end.
 * Streams that belong to no call are not opened.
 */
export function boundedFetch(bytesMax: number): typeof fetch {
  return async (input, init = {}) => {
    const isStream = init.method === 'GET'
    if (isStream && !new Headers(init.headers).has('last-event-id'))
      return new Response(null, { status: 405 })
    const signals = [init.signal, exchanges.getStore()].filter((one) => one instanceof AbortSignal)
    // A redirect would send the credentials in the headers to an address that the operator did not configure.
    const response = await fetch(input, {
      ...init,
      signal: AbortSignal.any(signals),
      redirect: 'error',
    })
    if (!response.body) return response
    let left = bytesMax
    const depth = new JsonDepth()
    const counted = new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        left -= chunk.length
        const isDeep = left >= 0 && !depth.passes(chunk)
        if (left >= 0 && !isDeep) return controller.enqueue(chunk)
        const what = isDeep ? 'JSON this deep' : `more than ${bytesMax} bytes`
        controller.error(new MayflyError('TOO_LARGE', `Cannot read ${what} from a server`))
      },
    })
    const { status, statusText, headers } = response
    return new Response(response.body.pipeThrough(counted), { status, statusText, headers })
  }
}
