import { errorCodes, MayflyError, messageOf, type ErrorCode } from '../contract/error.ts'
import type { Status } from '../contract/exit-codes.ts'
import { isLoopback } from '../gateway/http/origin.ts'
import { remediesIn, reworded, rewordedText } from '../contract/remedy.ts'
import { parseJson } from '../lib/parse-json.ts'
import { boundedBytes } from '../sdk/bounded-bytes.js'
import { loadCliConfig } from './open-assembly.ts'
import type { Globals } from './print.ts'

/** Limits of an answer: timeout in milliseconds, and bytes after decompression. */
const answerMsMax = 30_000
const lookMsMax = 5_000
const answerBytesMax = 64 * 2 ** 20

export interface ServerFlags extends Globals {
  readonly server?: string
  readonly insecureHttp?: boolean
}

/** Path of a sandbox on a server. Throws MayflyError NOT_FOUND for an id that would be another path. */
export function sandboxPath(id: string, order = ''): string {
  if (!['', '.', '..'].includes(id)) return `/v1/sandboxes/${encodeURIComponent(id)}${order}`
  throw new MayflyError('NOT_FOUND', 'Cannot find this sandbox')
}

/**
 * Calls a running server: `--server`, else `MAYFLY_SERVER`, else the local one of this configuration. The key comes
 * from `MAYFLY_API_KEY`, never from argv, which other users can read. Throws MayflyError with the server's problem
 * or a connection error.
 */
export async function callServer<T>(
  flags: ServerFlags,
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  body?: unknown,
): Promise<T> {
  const given = body === undefined ? {} : { type: 'application/json', body: JSON.stringify(body) }
  const response = await requestServer(flags, method, path, given)
  return (await answeredJson(response)) as T
}

/** Body of a request with its media type, its own deadline, and the media type that it accepts. */
export interface RequestParts {
  readonly type?: string
  readonly body?: string | Uint8Array
  readonly accept?: string
  /** Milliseconds until the answer is complete. */
  readonly answerMs?: number
}

/** Response of a server, with its body unread and a status of 2xx. Throws like `callServer`. */
export async function requestServer(
  flags: ServerFlags,
  method: string,
  path: string,
  { type, body, accept, answerMs = answerMsMax }: RequestParts = {},
): Promise<Response> {
  const base = serverOf(flags, process.env)
  const key = await serverKey(base)
  const response = await ask(new URL(path, base), {
    method,
    headers: {
      authorization: `Bearer ${key}`,
      ...(type !== undefined && { 'content-type': type }),
      ...(accept !== undefined && { accept }),
    },
    ...(body !== undefined && { body }),
    // Prevents a redirect from leaking the key to another host.
    redirect: 'error',
    signal: AbortSignal.timeout(answerMs),
  })
  if (response.ok) return response
  throw problemIn(await answeredJson(response), response.status)
}

/** API key of the environment. Throws MayflyError USAGE without one, UNAVAILABLE if there is no server to call either. */
export async function serverKey(base: URL): Promise<string> {
  const key = process.env['MAYFLY_API_KEY']?.trim()
  if (!key) await ask(new URL('/livez', base), { signal: AbortSignal.timeout(lookMsMax) })
  if (!key)
    throw new MayflyError('USAGE', 'Cannot call a server without an API key', {
      hint: 'Set MAYFLY_API_KEY; "mayfly access create --scope run read operate" creates a key',
    })
  // fetch would quote the key in its error.
  if (/^[\x21-\x7e]+$/.test(key)) return key
  throw new MayflyError('USAGE', 'Cannot use MAYFLY_API_KEY: it is no single line of visible ASCII')
}

/** Base URL of the API. Throws MayflyError USAGE or CONFIG. */
export function serverOf(
  flags: ServerFlags,
  env: Readonly<Record<string, string | undefined>>,
): URL {
  const given = flags.server ?? env['MAYFLY_SERVER']
  const url = given ? addressOf(given) : configured(flags)
  if (
    url.protocol === 'https:' ||
    isLoopback(url.hostname.replace(/^\[|\]$/g, '')) ||
    flags.insecureHttp
  )
    return url
  throw new MayflyError('USAGE', `Cannot send an API key unencrypted to "${url.host}"`, {
    hint: 'Use https, or --insecure-http if the whole network path is trusted',
  })
}

function addressOf(text: string): URL {
  const url = URL.parse(text)
  if (url && /^https?:$/.test(url.protocol) && !url.username && !url.password) return url
  throw new MayflyError('USAGE', `Cannot use "${text}" as the URL of a server`, {
    hint: 'Give the URL of its API, such as http://127.0.0.1:7421',
  })
}

/** Uses loopback for a wildcard address. The API port is the page's port + 1. */
function configured(flags: Globals): URL {
  const { host, port, tls_cert, tls_dev } = loadCliConfig(flags).config.server
  const isTls = tls_cert !== undefined || tls_dev
  const name = host === '0.0.0.0' || host === '::' ? 'localhost' : host
  const inUrl = name.includes(':') ? `[${name}]` : name
  return new URL(`${isTls ? 'https' : 'http'}://${inUrl}:${port + 1}`)
}

async function ask(url: URL, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, init)
  } catch (thrown) {
    const { cause = thrown } = thrown as { cause?: unknown }
    const { code = '' } = cause as { readonly code?: string }
    const isNobody = code === 'ECONNREFUSED'
    const why = isNobody ? 'no server runs there' : code || messageOf(cause)
    const name = 'name another by --server or MAYFLY_SERVER'
    throw new MayflyError('UNAVAILABLE', `Cannot reach a server at "${url.origin}": ${why}`, {
      hint: isNobody
        ? `Start one with "mayfly serve", which prints the first key for MAYFLY_API_KEY, or ${name}`
        : `Is its address right? Else ${name}; NODE_EXTRA_CA_CERTS adds a certificate authority`,
      cause: thrown,
    })
  }
}

/** JSON of an answer. Throws MayflyError PROTOCOL. */
export async function answeredJson(response: Response): Promise<unknown> {
  const bytes = await answeredBytes(response)
  try {
    return parseJson(new TextDecoder().decode(bytes))
  } catch (cause) {
    throw new MayflyError('PROTOCOL', `${unreadable(response)}: it is not from the API of Mayfly`, {
      hint: portHint,
      cause,
    })
  }
}

/** Bytes of an answer. Throws MayflyError PROTOCOL. */
export async function answeredBytes(response: Response): Promise<Uint8Array> {
  const bytes = await boundedBytes(response, answerBytesMax).catch((cause: unknown) => {
    throw new MayflyError('PROTOCOL', `${unreadable(response)}: ${messageOf(cause)}`, { cause })
  })
  if (bytes) return bytes
  throw new MayflyError('PROTOCOL', `${unreadable(response)}: it is too large`)
}

const portHint = 'The port of the API is the port of the page + 1'
const unreadable = ({ url }: Response) => `Cannot read the answer of "${new URL(url).origin}"`

/** Refusal of a job or a session by a server: it was blocked, or no wall can run it. */
export class JobRefused extends MayflyError {
  readonly jobStatus: Status

  constructor(code: ErrorCode, message: string, details: unknown, jobStatus: Status) {
    super(code, message, { details })
    this.jobStatus = jobStatus
  }
}

/** Passes on the server's problem, in the words of the command line; an unknown code becomes PROTOCOL. */
export function problemIn(body: unknown, status: number): MayflyError {
  const {
    code = '',
    message,
    hint,
    details,
    remedies,
    outcome,
  } = (body ?? {}) as Record<string, unknown>
  const known = Object.hasOwn(errorCodes, String(code)) ? (String(code) as ErrorCode) : 'PROTOCOL'
  const text = typeof message === 'string' ? message : `The server responded with status ${status}`
  const told = reworded('sandbox', { code: known, message: text, details })
  const ended = (outcome as { readonly status?: unknown } | undefined)?.status
  if (ended === 'blocked' || ended === 'unavailable')
    return new JobRefused(known, told.message, told.details, ended)
  return new MayflyError(known, told.message, {
    details: told.details,
    ...(typeof hint === 'string' && {
      hint: rewordedText('sandbox', hint, remediesIn({ remedies })),
    }),
    ...((status === 405 || message === 'Cannot find this path') && { hint: portHint }),
  })
}
