import type { Duplex } from 'node:stream'
import type { Refused } from './head.ts'

const phrases: Readonly<Record<Refused['status'], string>> = {
  400: 'Bad Request',
  403: 'Forbidden',
  413: 'Content Too Large',
  431: 'Request Header Fields Too Large',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
}
/** Long enough to read an answer in; unread bytes at the close would take it back. */
const lingerMs = 1_000

/**
 * Tells the guest why it is not let out, and ends the connection. The reason also stands in the status line: of a
 * CONNECT that failed most clients show nothing else.
 */
export function answerRefusal(client: Duplex, { status, because }: Refused): void {
  const message = `Cannot reach it: ${because}`
  const body = JSON.stringify({ code: status === 403 ? 'EGRESS_DENIED' : 'EGRESS_FAILED', message })
  const reason = because.replace(/[^\x20-\x7e]/g, '?').slice(0, 200)
  answerJson(client, `${status} ${phrases[status]}: ${reason}`, body)
}

/** An answer of the proxy itself, and the end of the connection. */
export function answerJson(client: Duplex, status: string, body: string): void {
  client.resume()
  client.end(
    `HTTP/1.1 ${status}\r\n` +
      'Content-Type: application/json\r\n' +
      `Content-Length: ${Buffer.byteLength(body)}\r\n` +
      `Connection: close\r\n\r\n${body}`,
  )
  setTimeout(() => client.destroy(), lingerMs).unref()
}

/** The alert `unrecognized_name`, which TLS clients show as such. */
export const unrecognizedName = Buffer.from([21, 3, 3, 0, 2, 2, 112])
