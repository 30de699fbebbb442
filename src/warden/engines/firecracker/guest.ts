import { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { MayflyError, messageOf } from '../../../contract/error.ts'
import type { Cgroup } from '../../../os/cgroup-interface.ts'
import { duplicate } from '../../../os/libc.js'
import { anonymousBytes } from '../../../os/proc.ts'
import { descriptorOf } from '../../../os/spawned-child.ts'
import { memoryIn } from '../group-bounds.ts'
import type { VmmProcess, VmmEnd } from '../agent-guest/source.ts'
import { failure, faultOf } from './api-client.ts'
import { rootDriveId } from './configuration.ts'
import type { FirecrackerMachine } from './machine.ts'

/**
 * A machine with a running guest.
 *
 * Its process was reparented to init, so its end is detected by polling pid and start time, and there is no exit code. The guest
 * shuts down by a reboot, at which Firecracker exits.
 *
 * Both channels are vsock connections that the host opened. The job's channel is not read here: the carrier sends no byte before
 * the server has sent one.
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

  /** Hands over the job's connection. Callable once. Throws MayflyError NOT_FOUND if the guest has ended. */
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

  /** Limits reads of its only disk, the image. */
  limitDisk(bytesASecond: number): Promise<void> {
    return this.#machine.limitDisk(rootDriveId, bytesASecond)
  }

  memory(): number {
    return this.cgroup ? memoryIn(this.cgroup) : anonymousBytes(this.#machine.process.pid)
  }

  /** Kills it and releases all its resources. Idempotent. */
  async release(): Promise<void> {
    this.#isReleased = true
    this.#channel.destroy()
    this.#job?.destroy()
    await this.#machine.kill()
  }

  async #untilGone(): Promise<VmmEnd> {
    // Sleeps first, so that the first poll runs after the constructor.
    do await sleep(this.#isReleased ? POLL_MS.released : POLL_MS.running)
    while (this.#machine.isAlive())
    return { exitCode: null, signal: null, said: '' }
  }
}

/** Poll intervals in milliseconds. A poll reads one file of /proc, in about 20 µs. */
const POLL_MS = { running: 10, released: 2 } as const

/** Error of a failed step between the start of a machine and the first answer of its guest, as `mayPass` expects it. */
export function failedStep(request: string, error: unknown): unknown {
  const isOfGuest = error instanceof MayflyError && ['PROTOCOL', 'UNAVAILABLE'].includes(error.code)
  return isOfGuest && !faultOf(error) ? failure('failed', { request }, messageOf(error)) : error
}

/**
 * Duplicates the descriptor of a connection as a socket without a pending read, which can be passed to another process. The
 * original stream has a read in flight since the handshake for the port.
 */
function unreadCopy(socket: Socket): Socket {
  const copy = new Socket({ fd: duplicate(descriptorOf(socket)) })
  // Closes the descriptor without a shutdown(2).
  socket.destroy()
  return copy
}
