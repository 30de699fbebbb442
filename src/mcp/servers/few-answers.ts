import type { Transport } from '@modelcontextprotocol/client'

/** Answers to requests of a server that are sent at a time. */
const ANSWERS_MAX = 4

/**
 * The same transport, which drops answers to requests of the server (ping, and refusals of others) while four are being sent.
 * Each answer over HTTP is a connection until the server accepts it, and a server can ask some ten thousand times within one
 * response.
 */
export function fewAnswers<T extends Transport>(transport: T): T {
  const send = transport.send.bind(transport)
  let answers = 0
  transport.send = async (message, options) => {
    if ('method' in message) return await send(message, options)
    if (answers >= ANSWERS_MAX) return
    answers++
    try {
      await send(message, options)
    } finally {
      answers--
    }
  }
  return transport
}
