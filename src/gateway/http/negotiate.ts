import type { IncomingMessage } from 'node:http'
import { msgpackOf } from '../../lib/msgpack.ts'
import { parseJson } from '../../lib/parse-json.ts'

const TYPE = 'application/msgpack'

/**
 * Converts a JSON answer, problems included, to MessagePack if `Accept` names it. `turn` runs the conversion, which blocks the
 * event loop for some tenths of a second for the largest answers.
 */
export async function negotiate(
  incoming: IncomingMessage,
  response: Response,
  turn: (work: () => Uint8Array<ArrayBuffer>) => Promise<Uint8Array<ArrayBuffer>>,
): Promise<Response> {
  const isAsked = /(?:^|,)\s*application\/msgpack\s*(?:$|[,;])/i.test(incoming.headers.accept ?? '')
  const isJson = /^application\/(problem\+)?json$/.test(response.headers.get('content-type') ?? '')
  if (!isAsked || !isJson) return response
  const text = await response.text()
  const bytes = await turn(() => new Uint8Array(msgpackOf(parseJson(text))))
  const headers = new Headers(response.headers)
  headers.set('content-type', TYPE)
  headers.delete('content-length')
  return new Response(bytes, { status: response.status, headers })
}
