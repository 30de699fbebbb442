import type { ChildProcess } from 'node:child_process'
import type { EventEmitter } from 'node:events'
import { Server, type Socket } from 'node:net'
import { requestBytesMax, type Reply, type StreamName } from '../contract/warden.ts'
import { request, type Request } from '../contract/warden-request.ts'
import { closeHandle } from '../lib/close-handle.ts'
import type { Handover } from './operations.ts'
import type { Warden } from './warden.ts'

/** Node's IPC channel to the server: the warden's child, or its parent. */
export interface Channel {
  send(
    message: unknown,
    handle: Socket | Server | undefined,
    done: (error: Error | null) => void,
  ): boolean
}

const OUTSTANDING_MAX = 1000
/** Requests without an answer, unless they fail. */
const unanswered: ReadonlySet<Request['op']> = new Set(['arm', 'rest'] as const)

/**
 * Answers requests of a channel. Every message is checked as hostile input; an invalid one is answered PROTOCOL if it has
 * an id, and dropped otherwise. A wall is killed if not all of its sockets could be passed: it would have no owner.
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
    const { reply, handover } = await warden.answer(read)
    outstanding--
    if (unanswered.has(read.op) && 'ok' in reply && reply.ok) return
    sendReply(warden, channel, reply, handover)
  }
}

/**
 * Fd passing (SCM_RIGHTS, by Node's IPC): a message takes a single handle, so a wall's outputs go ahead of the answer, in
 * messages of their own. Node drops a message whose handle does not arrive, as where the server is out of descriptors
 * (EMFILE), without an error: a copy of the answer follows without one, which the server ignores if it has the first.
 */
export function sendReply(
  warden: Warden,
  channel: Channel,
  reply: Reply,
  handover?: Handover,
): void {
  let isLost = false
  const orphan = () => {
    if (isLost || !handover) return
    isLost = true
    for (const handle of handlesOf(handover)) closeHandle(handle)
    void warden.answer({ protocol: 1, id: 1, op: 'kill', wall: handover.wall })
  }
  for (const [message, handle] of messagesOf(reply, handover)) {
    if (isLost) return
    if (handle instanceof Server) {
      // Until this copy is closed, this process accepts connections too; no program that could connect runs in the wall
      // yet.
      handle.on('connection', (early) => void early.destroy())
      // Node queues a handle until the one before is acknowledged, and drops the queue without a callback if the other
      // side dies: a listener left there would keep the warden from ending.
      handle.unref()
    }
    try {
      channel.send(message, handle, (error) => {
        if (error) orphan()
        // Node closes its copy of a socket once it was received, but not that of a listener.
        else if (handle instanceof Server) handle.close()
      })
    } catch {
      orphan()
    }
  }
}

/**
 * Makes Node pass over acknowledgements that it does not wait for. A receiver that is out of descriptors for a moment refuses a
 * handle; Node sends it again, wrapped twice, the receiver acknowledges each wrapping, and at the second acknowledgement an
 * assertion of Node ends this process (Node 26: `_handleQueue` of `internal/child_process` is null by then).
 */
export function passOverSurplusAcks(target: ChildProcess | NodeJS.Process): void {
  const emitter: EventEmitter = target
  emitter.prependListener('internalMessage', (message: { cmd?: unknown }) => {
    const { _handleQueue: queue } = target as { readonly _handleQueue?: unknown }
    if (queue === null && acks.has(message.cmd)) message.cmd = 'NODE_MAYFLY_SURPLUS'
  })
}

const acks: ReadonlySet<unknown> = new Set(['NODE_HANDLE_ACK', 'NODE_HANDLE_NACK'])

type Message = readonly [message: Reply, handle: Socket | Server | undefined]

function messagesOf(reply: Reply, handover: Handover | undefined): readonly Message[] {
  const of = 'id' in reply ? reply.id : 0
  const parts = Object.entries(handover?.streams ?? {}).map(
    ([part, stream]) => [{ of, part: part as StreamName }, stream] as const,
  )
  return [...parts, [reply, handover?.handle], ...(handover ? [[reply, undefined] as const] : [])]
}

function handlesOf({ handle, streams }: Handover): readonly (Socket | Server)[] {
  return [...Object.values(streams ?? {}), handle]
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

/** Size of a message without the digests of `sign`, which may be long. */
function weight(message: unknown): number {
  const digests = (message as { digests?: unknown } | null)?.digests
  return Array.isArray(digests) ? digests.length * 8 : 0
}
