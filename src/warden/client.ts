import type { ChildProcess } from 'node:child_process'
import type { Socket } from 'node:net'
import type { Checkpoint } from '../contract/evidence.ts'
import { MayflyError, type ErrorCode } from '../contract/error.ts'
import type { ProgramName, Reply, Wall, WallEnd, WardenFacts, Asked, Request } from './protocol.ts'

/** The server's half: asks, waits, and hears when a wall ended. */
export interface WardenClient {
  start(
    program: ProgramName,
    settings: { spares: number; spareMiB: number },
  ): Promise<{ wall: Wall; socket: Socket }>
  /** Resolves when the wall is held to this memory (bytes above idle) and deadline (ms from now), or is spent. */
  claim(
    wall: string,
    to: { tenant: string; memory: number; deadline: number },
  ): Promise<{ spent: boolean }>
  /** The next job of the same tenant in a wall that was claimed with the same memory; not answered. */
  arm(wall: string, deadline: number): void
  release(wall: string): Promise<{ peakBytes: number }>
  /** Resolves when nothing of it is left. */
  kill(wall: string): Promise<{ took: number }>
  sign(digests: readonly string[], from: { seq: number; head: string }): Promise<Checkpoint>
  facts(): Promise<WardenFacts>
  /** One listener a wall; called once. */
  onEnded(wall: string, then: (how: WallEnd, peakBytes: number, detail: string) => void): void
  /** Called when the warden itself is gone: nothing can be started or held any more. */
  onLost(then: () => void): void
  close(): Promise<void>
}

type Ended = (how: WallEnd, peakBytes: number, detail: string) => void
type Transport = (request: Request) => void

const ANSWER_MS_MAX = 30_000

export class Client {
  readonly #send: Transport
  readonly #waiting = new Map<
    number,
    {
      resolve: (v: { value: unknown; socket: Socket | undefined }) => void
      reject: (e: Error) => void
      timer: NodeJS.Timeout
    }
  >()
  readonly #listeners = new Map<string, Ended>()
  /** Ends that came before anybody listened. */
  readonly #early = new Map<string, Parameters<Ended>>()
  readonly #onLost: (() => void)[] = []
  readonly #keepAlive: (waiting: boolean) => void
  #nextId = 1
  #lost = false

  /** `keepAlive` is told when somebody begins and when nobody any longer waits for an answer. */
  constructor(send: Transport, keepAlive: (waiting: boolean) => void = () => {}) {
    this.#send = send
    this.#keepAlive = keepAlive
  }

  ask(asked: Asked): Promise<{ value: unknown; socket: Socket | undefined }> {
    if (this.#lost) return Promise.reject(lost())
    const id = this.#nextId++
    const { promise, resolve, reject } = Promise.withResolvers<{
      value: unknown
      socket: Socket | undefined
    }>()
    const timer = setTimeout(() => {
      this.#forget(id)
      reject(
        new MayflyError(
          'WARDEN_LOST',
          `Cannot ${asked.op}: the warden did not answer in ${ANSWER_MS_MAX} ms`,
        ),
      )
    }, ANSWER_MS_MAX)
    timer.unref()
    if (this.#waiting.size === 0) this.#keepAlive(true)
    this.#waiting.set(id, { resolve, reject, timer })
    this.#send({ protocol: 1, id, ...asked })
    return promise
  }

  /** Says something that is not answered. */
  tell(asked: Asked): void {
    if (!this.#lost) this.#send({ protocol: 1, id: this.#nextId++, ...asked })
  }

  hear(reply: Reply, socket?: Socket): void {
    if ('ended' in reply) return this.#heardEnd(reply)
    const waiting = this.#waiting.get(reply.id)
    if (!waiting) return void socket?.destroy()
    this.#forget(reply.id)
    clearTimeout(waiting.timer)
    if (reply.ok) waiting.resolve({ value: reply.value, socket })
    else
      waiting.reject(
        new MayflyError(
          reply.code as ErrorCode,
          reply.message,
          reply.hint ? { hint: reply.hint } : {},
        ),
      )
  }

  lose(): void {
    if (this.#lost) return
    this.#lost = true
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer)
      reject(lost())
    }
    this.#waiting.clear()
    this.#keepAlive(false)
    for (const then of this.#onLost) then()
  }

  #forget(id: number): void {
    this.#waiting.delete(id)
    if (this.#waiting.size === 0) this.#keepAlive(false)
  }

  onLost(then: () => void): void {
    this.#onLost.push(then)
  }

  onEnded(wall: string, then: Ended): void {
    const early = this.#early.get(wall)
    this.#early.delete(wall)
    if (early) then(...early)
    else this.#listeners.set(wall, then)
  }

  #heardEnd(reply: Extract<Reply, { ended: string }>): void {
    const listener = this.#listeners.get(reply.ended)
    this.#listeners.delete(reply.ended)
    if (listener) listener(reply.how, reply.peakBytes, reply.detail)
    else this.#early.set(reply.ended, [reply.how, reply.peakBytes, reply.detail])
  }
}

function lost(): MayflyError {
  return new MayflyError('WARDEN_LOST', 'Cannot reach the warden: it has ended', {
    hint: 'Every wall ended with it; start Mayfly again',
  })
}

export function facade(client: Client, close: () => Promise<void>): WardenClient {
  const value = async <T>(asked: Asked) => (await client.ask(asked)).value as T
  return {
    async start(program, settings) {
      const { value, socket } = await client.ask({ op: 'start', program, ...settings })
      return { wall: value as Wall, socket: socket! }
    },
    claim: (wall, to) => value({ op: 'claim', wall, ...to }),
    arm: (wall, deadline) => client.tell({ op: 'arm', wall, deadline }),
    release: (wall) => value({ op: 'release', wall }),
    kill: (wall) => value({ op: 'kill', wall }),
    sign: (digests, from) => value({ op: 'sign', digests: [...digests], ...from }),
    facts: () => value({ op: 'facts' }),
    onEnded: (wall, then) => client.onEnded(wall, then),
    onLost: (then) => client.onLost(then),
    close,
  }
}

/** The warden at the other end of an IPC channel: our parent's, or a child we started. */
export function joinWarden(
  channel: NodeJS.Process | ChildProcess,
  close: () => Promise<void>,
  keepAlive?: (waiting: boolean) => void,
): WardenClient {
  const client = new Client((request) => {
    channel.send!(request, undefined, {}, (error: Error | null) => {
      if (error) client.lose()
    })
  }, keepAlive)
  channel.on('message', (reply: unknown, socket: unknown) =>
    client.hear(reply as Reply, socket as Socket | undefined),
  )
  channel.on('disconnect', () => client.lose())
  // A channel may close without a word while a socket is on its way; a child that ended says so always.
  if (channel !== process) channel.on('exit', () => client.lose())
  return facade(client, close)
}
