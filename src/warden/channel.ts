import type { Socket } from 'node:net'
import { requestBytesMax, type Reply, type Request } from './protocol.ts'
import { request } from './request.ts'
import type { Warden } from './warden.ts'

/** One end of Node's IPC channel: the warden's child, or the warden's own parent. */
export interface Channel {
  send(message: unknown, handle: Socket | undefined, done: (error: Error | null) => void): boolean
}

const OUTSTANDING_MAX = 1000

/**
 * Answers what comes over a channel. Every message is checked like hostile input; what is not a request is
 * answered with PROTOCOL where it has an id, and dropped where it has none. A wall whose socket could not be handed
 * over has no owner, so it is killed.
 */
export function answerChannel(warden: Warden, channel: Channel): (message: unknown) => void {
  let outstanding = 0
  return (message) => {
    if (outstanding >= OUTSTANDING_MAX)
      return refuse(channel, message, 'too many requests are waiting')
    if (weight(message) > requestBytesMax)
      return refuse(channel, message, 'the request is too large')
    const read = request.safeParse(message)
    if (!read.success)
      return refuse(channel, message, read.error.issues[0]?.message ?? 'unreadable')
    outstanding++
    void answer(read.data)
  }

  async function answer(read: Request): Promise<void> {
    const { reply, socket } = await warden.answer(read)
    outstanding--
    if (read.op === 'arm' && 'ok' in reply && reply.ok) return
    hand(warden, channel, reply, socket)
  }
}

export function hand(warden: Warden, channel: Channel, reply: Reply, socket?: Socket): void {
  const orphan = () => {
    socket?.destroy()
    if (socket && 'ok' in reply && reply.ok) {
      const { id } = reply.value as { id: string }
      void warden.answer({ protocol: 1, id: 1, op: 'kill', wall: id })
    }
  }
  try {
    channel.send(reply, socket, (error) => {
      if (error) orphan()
    })
  } catch {
    orphan()
  }
}

function refuse(channel: Channel, message: unknown, why: string): void {
  const id = (message as { id?: unknown } | null)?.id
  if (!Number.isSafeInteger(id)) return
  const reply: Reply = {
    id: id as number,
    ok: false,
    code: 'PROTOCOL',
    message: `Cannot read a request: ${why}`,
  }
  channel.send(reply, undefined, () => {})
}

/** The one request that may be long is the list of digests to sign. */
function weight(message: unknown): number {
  const digests = (message as { digests?: unknown } | null)?.digests
  return Array.isArray(digests) ? digests.length * 8 : 0
}
