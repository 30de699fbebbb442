import { MayflyError } from '../../contract/error.ts'

/** A body that goes on and on is cut off here, whatever it calls itself. */
export function boundedFetch(bytesMax: number): typeof fetch {
  return async (input, init) => {
    // A redirect would carry the headers, and so the credentials, to an address that no operator named.
    const response = await fetch(input, { ...init, redirect: 'error' })
    if (!response.body) return response
    let left = bytesMax
    const counted = new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        left -= chunk.length
        if (left >= 0) return controller.enqueue(chunk)
        controller.error(
          new MayflyError('TOO_LARGE', `Cannot read more than ${bytesMax} bytes of a server`),
        )
      },
    })
    const { status, statusText, headers } = response
    return new Response(response.body.pipeThrough(counted), { status, statusText, headers })
  }
}
