import { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { MayflyError, messageOf } from '../../../contract/error.ts'
import type { Cgroup } from '../../../os/cgroup-interface.ts'
import { duplicate } from '../../../os/libc.js'
import { anonymousBytes } from '../../../os/proc.ts'
import { descriptorOf } from '../../../os/spawned-child.ts'
import { memoryIn } from '../agent-guest/measure.ts'
import type { VmmProcess, VmmEnd } from '../agent-guest/source.ts'
import { failure, faultOf } from './api-client.ts'
import type { FirecrackerMachine } from './machine.ts'

/**
 * A machine whose guest runs, as the engine sees it.
 *
 * The process of the machine is a child of init, so its end is found by polling its pid and start time; there is no exit code. The guest ends by a
 * restart, at which the monitor exits.
 *
 * Both channels are connections of the vsock that the host opened. Nothing is read from the job's here: its carrier sends no byte
 * before the server has sent one.
 */
export class FirecrackerGuest implements VmmProcess {
  readonly id: string
  readonly uid: number | undefined
  readonly cgroup: Cgroup | undefined
  readonly processes: VmmProcess['processes']
  readonly ended: Promise<VmmEnd>
  readonly #machine: FirecrackerMachine
  readonly #channel: Socket
  #job: Socket | undefined
  #isReleased = false

  constructor(machine: FirecrackerMachine, channel: Socket, job: Socket) {
    this.id = machine.id
    this.uid = machine.uid
    this.cgroup = machine.cgroup
    this.processes = [machine.process]
    this.ended = this.#untilGone()
    this.#machine = machine
    this.#channel = channel
    this.#job = job
  }

  /** Hands over the job's connection. Callable once. Throws MayflyError NOT_FOUND where the guest has ended. */
  takeJobChannel(): Socket {
    const socket = this.#job
    this.#job = undefined
    if (!socket || socket.destroyed || socket.readableLength > 0)
      throw new MayflyError('NOT_FOUND', `Cannot use guest "${this.id}": its channel is gone`)
    return unreadCopy(socket)
  }

  kill(): void {
    this.#machine.signalKill()
  }

  freeze(): Promise<void> {
    return this.#machine.pause()
  }

  thaw(): Promise<void> {
    return this.#machine.resume()
  }

  memory(): number {
    return this.cgroup ? memoryIn(this.cgroup) : anonymousBytes(this.#machine.process.pid)
  }

  /** Kills it and releases all that it holds. Idempotent. */
  async release(): Promise<void> {
    this.#isReleased = true
    this.#channel.destroy()
    this.#job?.destroy()
    await this.#machine.kill()
  }

  async #untilGone(): Promise<VmmEnd> {
    // The first poll comes after the constructor.
    do await sleep(this.#isReleased ? POLL_MS.released : POLL_MS.running)
    while (this.#machine.isAlive())
    return { exitCode: null, signal: null, said: '' }
  }
}

/** A poll reads one file of /proc, in some 20 µs. */
const POLL_MS = { running: 10, released: 2 } as const

/** Error of a step between the start of a machine and its guest's answer, for `Tries`. */
export function failedStep(request: string, error: unknown): unknown {
  const isOfGuest = error instanceof MayflyError && ['PROTOCOL', 'UNAVAILABLE'].includes(error.code)
  return isOfGuest && !faultOf(error) ? failure('failed', { request }, messageOf(error)) : error
}

/**
 * The same connection as a socket that nobody read of: it may be handed to another process. The stream of the first one is in the
 * middle of a read, behind the machine's answer to the request for the port.
 */
function unreadCopy(socket: Socket): Socket {
  const copy = new Socket({ fd: duplicate(descriptorOf(socket)) })
  // Closes its descriptor, and sends no end.
  socket.destroy()
  return copy
}
