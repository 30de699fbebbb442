import { addAbortListener } from 'node:events'
import { isIPv6 } from 'node:net'

/** Resolves a host to permitted addresses, or gives the reason for refusal. Called for each attempt and not cached. */
export type ResolveAddresses = (
  host: string,
  port: number,
) => Promise<readonly string[] | { readonly because: string }>

export interface PostOptions {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly addresses: ResolveAddresses
  /** Milliseconds for the whole attempt. */
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

export type PostResult =
  | { readonly kind: 'answered'; readonly status: number; readonly retryAfterMs: number }
  | { readonly kind: 'failed'; readonly because: string }

/**
 * Posts a body once. Connects to the address that was checked, so DNS rebinding between check and use has no effect;
 * redirects are not followed; the response body is not read. Never throws.
 */
export async function post(body: string, posting: PostOptions): Promise<PostResult> {
  const url = new URL(posting.url)
  const isSecure = url.protocol === 'https:'
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const port = Number(url.port || (isSecure ? 443 : 80))
  const signal = AbortSignal.any([posting.signal, AbortSignal.timeout(posting.timeoutMs)])
  try {
    const found = await withinTime(posting.addresses(host, port), signal)
    if ('because' in found) return { kind: 'failed', because: found.because }
    const [address] = found
    if (address === undefined) return { kind: 'failed', because: `"${host}" has no address` }
    return await exchange(body, { ...posting, url, address, signal })
  } catch (thrown) {
    return { kind: 'failed', because: reasonOf(thrown, signal) }
  }
}

interface Exchange extends Pick<PostOptions, 'headers' | 'signal'> {
  readonly url: URL
  readonly address: string
}

function exchange(body: string, { url, headers, address, signal }: Exchange): Promise<PostResult> {
  const { promise, resolve, reject } = Promise.withResolvers<PostResult>()
  // Loaded here, because most processes post nothing.
  const { request } = process.getBuiltinModule(
    url.protocol === 'https:' ? 'node:https' : 'node:http',
  )
  const outgoing = request(url, {
    method: 'POST',
    headers: { ...headers, 'content-length': Buffer.byteLength(body) },
    agent: false,
    signal,
    lookup: (_host, options, then) => {
      const family = isIPv6(address) ? 6 : 4
      if (options.all) then(null, [{ address, family }])
      else then(null, address, family)
    },
  })
  outgoing.on('response', (answer) => {
    resolve({
      kind: 'answered',
      status: answer.statusCode ?? 0,
      retryAfterMs: Math.max(0, Number(answer.headers['retry-after'] ?? 0) * 1000) || 0,
    })
    answer.destroy()
  })
  outgoing.on('error', reject)
  // No response and no error follow an answer that changes the protocol (101): Node only closes the connection.
  outgoing.on('close', () => reject(new Error('it closed the connection without a response')))
  outgoing.end(body)
  return promise
}

async function withinTime<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<T>()
  using _late = addAbortListener(signal, () => reject(new Error('it took too long')))
  return await Promise.race([work, promise])
}

function reasonOf(thrown: unknown, signal: AbortSignal): string {
  if (signal.aborted) return 'it took too long'
  const { code, message } = thrown as NodeJS.ErrnoException
  return code ?? message
}
