import type { Duplex } from 'node:stream'
import { headText, type EgressRefusal } from './http-head.ts'

const phrases: Readonly<Record<EgressRefusal['status'], string>> = {
  400: 'Bad Request',
  403: 'Forbidden',
  413: 'Content Too Large',
  431: 'Request Header Fields Too Large',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
}
/**
 * Time for the guest to read an answer: closing a socket with unread input sends RST, which discards data in flight.
 */
const lingerMs = 1_000

/**
 * Sends the reason of a refusal to the guest, and closes the connection. The status line repeats the reason: many
 * clients show nothing else of a failed CONNECT.
 */
export function answerRefusal(client: Duplex, { status, because }: EgressRefusal): void {
  const message = `Cannot reach it: ${because}`
  const body = JSON.stringify({ code: status === 403 ? 'EGRESS_DENIED' : 'EGRESS_FAILED', message })
  const reason = because.replace(/[^\x20-\x7e]/g, '?').slice(0, 200)
  answerJson(client, `${status} ${phrases[status]}: ${reason}`, body)
}

/** Sends an answer of the proxy itself and closes the connection. */
export function answerJson(client: Duplex, status: string, body: string): void {
  client.resume()
  const head = headText(`HTTP/1.1 ${status}`, [
    ['Content-Type', 'application/json'],
    ['Content-Length', String(Buffer.byteLength(body))],
    ['Connection', 'close'],
  ])
  client.end(Buffer.concat([head, Buffer.from(body)]))
  setTimeout(() => client.destroy(), lingerMs).unref()
}

/** TLS alert `unrecognized_name` (fatal). */
export const unrecognizedName = Buffer.from([21, 3, 3, 0, 2, 2, 112])
