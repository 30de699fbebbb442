import { errorCodes, MayflyError, messageOf, type ErrorCode } from '../contract/error.ts'
import { isLoopback } from '../gateway/http/origin.ts'
import { loadHere } from './here.ts'
import type { Globals } from './print.ts'
import { parseJson } from '../lib/parse-json.ts'

/** Longest wait for an answer, in milliseconds, and the largest that is read, in bytes. */
const answerMsMax = 30_000
const answerBytesMax = 64 * 2 ** 20

export interface ServerFlags extends Globals {
  readonly server?: string
  readonly insecureHttp?: boolean
}

/**
 * Calls a running server: the one of `--server`, else of `MAYFLY_SERVER`, else the one that this configuration would
 * start on this machine. The key is `MAYFLY_API_KEY`, and never part of a command line, which others can read. Throws
 * MayflyError: what the server said, or why it could not be asked.
 */
export async function callServer<T>(
  flags: ServerFlags,
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  body?: unknown,
): Promise<T> {
  const base = serverOf(flags, process.env)
  const key = process.env['MAYFLY_API_KEY']
  if (!key)
    throw new MayflyError('USAGE', 'Cannot ask a server without an API key', {
      hint: 'Set MAYFLY_API_KEY; "mayfly access create --scope operate" makes one',
    })
  const response = await ask(new URL(path, base), {
    method,
    headers: {
      authorization: `Bearer ${key}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    // A key is for this address, and for no other that it may name.
    redirect: 'error',
    signal: AbortSignal.timeout(answerMsMax),
  })
  const said = await read(response, base)
  if (response.ok) return said as T
  throw problemOf(said, response.status)
}

/** Where the API of that server is. Throws MayflyError USAGE or CONFIG. */
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
  throw new MayflyError('USAGE', `Cannot send an API key in clear to "${url.host}"`, {
    hint: 'Use https, or say --insecure-http where you trust all that lies between',
  })
}

function addressOf(text: string): URL {
  const url = URL.parse(text)
  if (url && /^https?:$/.test(url.protocol) && !url.username && !url.password) return url
  throw new MayflyError('USAGE', `Cannot read "${text}" as the address of a server`, {
    hint: 'Give the address of its API, such as http://127.0.0.1:7421',
  })
}

/** A server that listens everywhere is reached here. The API is one port above the page. */
function configured(flags: Globals): URL {
  const { host, port, tls_cert, tls_dev } = loadHere(flags).config.server
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
    const why = (cause as { code?: string }).code ?? messageOf(cause)
    throw new MayflyError('UNAVAILABLE', `Cannot reach a server at "${url.origin}": ${why}`, {
      hint: 'Name it by --server or MAYFLY_SERVER; NODE_EXTRA_CA_CERTS names an authority of your own',
      cause: thrown,
    })
  }
}

async function read(response: Response, { origin }: URL): Promise<unknown> {
  if (Number(response.headers.get('content-length') ?? 0) > answerBytesMax)
    throw new MayflyError('PROTOCOL', `Cannot read the answer of "${origin}": it is too large`)
  try {
    return parseJson(await response.text())
  } catch (cause) {
    throw new MayflyError(
      'PROTOCOL',
      `Cannot read the answer of "${origin}": it is no API of Mayfly`,
      {
        hint: 'The API is one port above the page',
        cause,
      },
    )
  }
}

/** What a server said is told as it said it; a code that is not known here is one of its own. */
function problemOf(said: unknown, status: number): MayflyError {
  const { code = '', message, details } = (said ?? {}) as Record<string, unknown>
  const known = Object.hasOwn(errorCodes, String(code)) ? (String(code) as ErrorCode) : 'PROTOCOL'
  const text = typeof message === 'string' ? message : `The server answered ${status}`
  return new MayflyError(known, text, { details })
}
