import { MayflyError } from '../../contract/error.ts'

/** A fetch that fails after `bytesMax` bytes of a response body, whatever content-length it has. */
export function boundedFetch(bytesMax: number): typeof fetch {
  return async (input, init) => {
    // A redirect would send the credentials in the headers to an address that the operator did not configure.
    const response = await fetch(input, { ...init, redirect: 'error' })
    if (!response.body) return response
    let left = bytesMax
    const counted = new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        left -= chunk.length
        if (left >= 0) return controller.enqueue(chunk)
        controller.error(
          new MayflyError('TOO_LARGE', `Cannot read more than ${bytesMax} bytes from a server`),
        )
      },
    })
    const { status, statusText, headers } = response
    return new Response(response.body.pipeThrough(counted), { status, statusText, headers })
  }
}
