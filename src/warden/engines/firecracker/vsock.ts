import { once } from 'node:events'
import type { Socket } from 'node:net'
import { MayflyError } from '../../../contract/error.ts'
import { escapedText } from './escaped.ts'
import { connectInJail } from './guest-socket.ts'

/**
 * A connection from the host to a vsock port of a guest. Firecracker listens on a unix socket in the root of the jail; the host
 * sends `CONNECT port`, and Firecracker answers `OK port` once the guest has accepted, or closes. All later bytes are data of the
 * guest, so exactly the line is read here, and the rest stays in the socket for its owner.
 *
 * A snapshot resets the device: connections end in every clone, and listeners in the guest stay. A channel is therefore opened
 * after each load, never before.
 */
export interface VsockOptions {
  /** Host path of the socket, and its required owner. */
  readonly socket: string
  readonly uid: number
  readonly port: number
  /** Milliseconds to wait for the guest to accept; 5,000 by default. */
  readonly msMax?: number
}

const MS_MAX = 5_000
/** Length of `OK 4294967295` with its line feed. */
const LINE_BYTES_MAX = 14
const PORT_MAX = 2 ** 32 - 2

/**
 * Resolves with the socket, positioned at the first byte of the guest, once the guest has accepted. Rejects with MayflyError
 * UNAVAILABLE (the guest does not listen, or is late) or PROTOCOL (a malformed answer), and closes the socket then.
 */
export async function connectVsock({
  socket: file,
  uid,
  port,
  msMax = MS_MAX,
}: VsockOptions): Promise<Socket> {
  if (!Number.isSafeInteger(port) || port < 1 || port > PORT_MAX)
    throw new MayflyError('INTERNAL', `Cannot connect to a guest: ${port} is not a valid port`)
  const socket = open(file, uid, port)
  const late = AbortSignal.timeout(msMax)
  try {
    await once(socket, 'connect', { signal: late })
    socket.write(`CONNECT ${port}\n`)
    await readAccepted(socket, late)
    return socket
  } catch (error) {
    socket.destroy()
    if (error instanceof MayflyError) throw error
    throw refused(port, late.aborted ? `it did not accept in ${msMax} ms` : messageFor(error))
  }
}

function open(file: string, uid: number, port: number): Socket {
  try {
    const socket = connectInJail(file, uid)
    // Stays subscribed: an 'error' between two waits would otherwise be unhandled and end this process.
    socket.on('error', () => undefined)
    return socket
  } catch (error) {
    if (error instanceof MayflyError) throw error
    throw refused(port, messageFor(error))
  }
}

/** Reads one byte at a time until the end of the line. */
async function readAccepted(socket: Socket, late: AbortSignal): Promise<void> {
  let line = ''
  while (!line.endsWith('\n')) {
    late.throwIfAborted()
    const byte = socket.read(1) as Buffer | null
    if (byte === null) await readable(socket, late)
    else line += byte.toString('latin1')
    if (line.length > LINE_BYTES_MAX) break
  }
  if (!/^OK \d{1,10}\n$/.test(line))
    throw new MayflyError(
      'PROTOCOL',
      'Cannot connect to a guest: the answer of the machine is malformed',
      {
        detail: escapedText(line, LINE_BYTES_MAX + 1),
      },
    )
}

async function readable(socket: Socket, late: AbortSignal): Promise<void> {
  if (socket.readableEnded || socket.destroyed) throw new Error('it closed the connection')
  const ended = new AbortController()
  const signal = AbortSignal.any([late, ended.signal])
  try {
    await Promise.race([
      once(socket, 'readable', { signal }),
      once(socket, 'end', { signal }).then(closed),
      once(socket, 'close', { signal }).then(closed),
    ])
  } finally {
    ended.abort()
  }
}

function closed(): never {
  throw new Error('it closed the connection')
}

function refused(port: number, why: string): MayflyError {
  return new MayflyError('UNAVAILABLE', `Cannot connect to port ${port} of a guest: ${why}`)
}

function messageFor(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  return escapedText(code ?? message, 200)
}
