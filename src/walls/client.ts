import type { ChildProcess } from 'node:child_process'
import type { Server, Socket } from 'node:net'
import type { Checkpoint } from '../contract/evidence.ts'
import { MayflyError, type ErrorCode } from '../contract/error.ts'
import type { AdmittedImage } from '../contract/image-reference.ts'
import type { MachineSave } from '../contract/machine-save.ts'
import type { ImagePolicy } from '../contract/vulnerability.ts'
import { closeHandle } from '../lib/close-handle.ts'
import type {
  ConnectionEnds,
  ForkedWall,
  CallPhase,
  SeenReport,
  ClosedCallsState,
  CaptureProgress,
  ClaimResult,
  BoundMechanisms,
  ProgramName,
  Reply,
  SentinelState,
  StreamName,
  Wall,
  WallEnd,
  LimitHit,
  WallExit,
  WallLoads,
  WallUsage,
  WallCost,
  WardenFacts,
  ZoneReport,
} from '../contract/warden.ts'
import type { WardenRequest, Request } from '../contract/warden-request.ts'

/** A started wall with its sockets; `streams` only for whole programs. Their owner must listen for `'error'` too. */
export interface StartedWall {
  readonly wall: Wall
  readonly socket: Socket
  readonly streams?: Readonly<Record<StreamName, Socket>>
}

/** Bounds of a job; omitted ones are not set. `egress` requests the listener inside the wall. */
export type WallClaim = Omit<Extract<WardenRequest, { op: 'claim' }>, 'op' | 'wall'>

/** Bounds of a wall to lower; with a zone, of that zone. */
type WallBounds = Omit<Extract<WardenRequest, { op: 'tighten' }>, 'op' | 'wall'>
/** Start of a wall. */
export type StartSettings = Omit<Extract<WardenRequest, { op: 'start' }>, 'op' | 'program'>

type Ended = (
  how: WallEnd,
  peakBytes: number,
  detail: string,
  exit: WallExit,
  limit?: LimitHit,
) => void
/** Unsubscribe, or the listener leaks until the warden exits. */
type Unsubscribe = () => void
type Transport = (request: Request) => void

interface Answer {
  readonly value: unknown
  readonly handle: Socket | Server | undefined
  readonly parts: Parts
}

type Parts = { [part in StreamName]?: Socket }

interface PendingRequest {
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: Error) => void
  readonly timer: NodeJS.Timeout
  /** Sockets received before the answer. */
  readonly parts: Parts
}

const ANSWER_MS_MAX = 30_000
/** Milliseconds for a start: an emulated machine boots, in three tries. */
const START_MS_MAX = 400_000

/**
 * Client of the warden: requests with their answers, and pushed messages about walls.
 *
 * Problem: a message of the channel takes a single handle, pushed messages may be earlier than their listener, and either process
 * may run out of descriptors, or end, at any time.
 *
 * Mechanism: each request has a number and a deadline. The outputs of a whole program arrive ahead of the answer, one a message,
 * and are kept with the request; a wall with a missing socket is killed. Sockets of a late answer are closed. The end of a wall
 * without a listener is kept for it. When the channel ends, all pending requests are rejected with WARDEN_LOST.
 *
 * Relies on the order of messages of Node's IPC channel. Not handled: retries, and a warden that is started again.
 */
export class Client {
  readonly #send: Transport
  readonly #pending = new Map<number, PendingRequest>()
  readonly #listeners = new Map<string, Ended>()
  /** Ends reported before a listener subscribed. */
  readonly #early = new Map<string, Parameters<Ended>>()
  readonly #onLost = new Set<() => void>()
  readonly #onCall = new Map<string, (seen: SeenReport) => void>()
  readonly #onZone = new Map<string, (state: ZoneReport) => void>()
  #onSentinel: ((state: SentinelState) => void) | undefined
  /** Last state reported before a listener subscribed. */
  #sentinel: SentinelState | undefined
  readonly #swept = Promise.withResolvers<number>()
  readonly #keepAlive: (pending: boolean) => void
  #nextId = 1
  #lost = false
  /** Resolves to the number of walls of dead wardens that it ended in the sweep at its start. */
  readonly swept = this.#swept.promise
  readonly close: () => Promise<void>

  /** `keepAlive` is called when the first request becomes pending, and when the last one is answered. */
  constructor(
    send: Transport,
    close: () => Promise<void>,
    keepAlive: (pending: boolean) => void = () => {},
  ) {
    this.#send = send
    this.close = close
    this.#keepAlive = keepAlive
  }

  readonly start = (program: ProgramName, settings: StartSettings): Promise<StartedWall> =>
    this.#started({ op: 'start', program, ...settings }, 'start a wall: its sockets were')

  /** Digest of an image by tag or digest. Rejects with MayflyError NOT_FOUND, IMAGE_BROKEN and IMAGE_REFUSED. */
  readonly image = (
    name: string,
    policy: ImagePolicy,
    isDefault = false,
  ): Promise<AdmittedImage> => {
    const { max_severity, unknown_severity, max_feed_age } = policy
    const { allow_imported, unscanned_defaults } = policy
    const held = { max_severity, unknown_severity, max_feed_age }
    return this.#value({
      op: 'image',
      name,
      policy: { ...held, allow_imported, unscanned_defaults },
      ...(isDefault && { isDefault }),
    })
  }

  /** Resolves when memory (bytes above idle) and deadline (ms from now) are enforced, or if the wall is spent. */
  readonly claim = async (
    wall: string,
    to: WallClaim,
  ): Promise<ClaimResult & { readonly listener?: Server }> => {
    const { value, handle } = await this.request({ op: 'claim', wall, ...to })
    return { ...(value as ClaimResult), ...(handle && { listener: handle as Server }) }
  }

  /**
   * Starts the next job of the same tenant with the memory bound of the last claim; not answered. `ranMs`: run time of
   * that job so far.
   */
  readonly arm = (wall: string, deadline: number, ranMs = 0): void =>
    this.#notify({ op: 'arm', wall, deadline, ...(ranMs > 0 && { ran: ranMs }) })

  /** Disarms the deadline of a worker that became idle; not answered. */
  readonly rest = (wall: string): void => this.#notify({ op: 'rest', wall })

  /** `hasFailed`: its job ended with an error, and the answer has the limit that it used up. */
  readonly release = (wall: string, hasFailed = false): Promise<WallCost> =>
    this.#value({ op: 'release', wall, ...(hasFailed && { failed: true }) })

  readonly usage = (wall: string): Promise<WallUsage> => this.#value({ op: 'usage', wall })

  /** Usage at the end of an exec of its session, with the limit that a failed one used up; refusals are then counted anew. */
  readonly usageOfExec = (wall: string, execEnded: 'ok' | 'failed'): Promise<WallUsage> =>
    this.#value({ op: 'usage', wall, execEnded })

  /** Usage of every wall that has a job; cached for some milliseconds where there are many. */
  readonly loads = (): Promise<WallLoads> => this.#value({ op: 'loads' })

  /** Host pids of the processes that hold a connection to its egress listener; `ends` are addresses inside the wall. */
  readonly callers = (wall: string, ends: ConnectionEnds): Promise<readonly number[]> =>
    this.#value({ op: 'callers', wall, ...ends })

  /** Kills a wall, or one zone of its programs; resolves when no process of it is left. */
  readonly kill = (wall: string, zone?: string): Promise<{ took: number }> =>
    this.#value({ op: 'kill', wall, ...(zone !== undefined && { zone }) })

  /** Lowers bounds of a claimed wall; resolves when they are enforced, rejects if one is not. */
  readonly tighten = (wall: string, to: WallBounds): Promise<BoundMechanisms> =>
    this.#value({ op: 'tighten', wall, ...to })

  /**
   * Closes classes of system calls irrevocably, by phase; resolves when those of the phases already begun are closed.
   */
  readonly calls = (wall: string, phases: readonly CallPhase[]): Promise<ClosedCallsState> =>
    this.#value({ op: 'calls', wall, phases })

  /** Resolves when every process in it is stopped. Its deadline keeps running, and is `hold` milliseconds from now at least. */
  readonly freeze = (wall: string, hold?: number): Promise<{ took: number }> =>
    this.#value({ op: 'freeze', wall, ...(hold !== undefined && { hold }) })

  readonly thaw = (wall: string): Promise<void> => this.#value({ op: 'thaw', wall })

  /** Socket for copies of its memory; once a life. */
  readonly memory = async (wall: string): Promise<Socket> =>
    socketOf(await this.request({ op: 'memory', wall }), 'copy memory')

  /** Begins to copy memory into that socket; the format is documented at `Sentinel.capture`. */
  readonly capture = (wall: string, bytes: number): Promise<CaptureProgress> =>
    this.#value({ op: 'capture', wall, bytes })

  /** Begins to resume a machine: its save goes to the socket. Rejects with MayflyError UNAVAILABLE. */
  readonly resume = async (
    save: MachineSave,
  ): Promise<{ readonly resumption: string; readonly socket: Socket }> => {
    const answer = await this.request({ op: 'resume', save })
    const { resumption } = answer.value as { resumption: string }
    return { resumption, socket: socketOf(answer, 'resume a machine') }
  }

  /** Resolves with the stopped machine once its save has arrived; the socket is that of its agent. Once for each. */
  readonly resumed = (resumption: string): Promise<StartedWall> =>
    this.#started({ op: 'resumed', resumption }, 'resume a machine: its socket was')

  /**
   * Saves a claimed wall, of which `children` further ones can be started. Rejects with MayflyError UNAVAILABLE, OVERLOADED and
   * NOT_FOUND.
   */
  readonly fork = (wall: string, children: number): Promise<ForkedWall> =>
    this.#value({ op: 'fork', wall, children })

  /** Starts a wall of a fork, which stands still until its claim. */
  readonly forked = (fork: string): Promise<StartedWall> =>
    this.#started({ op: 'forked', fork }, 'start a forked wall: its socket was')

  /** Gives up the walls of a fork that were not started. Idempotent. */
  readonly forgetFork = async (fork: string): Promise<void> =>
    void (await this.request({ op: 'forget-fork', fork }))

  /** Starts the program of a configured MCP server. The socket is its stdin and stdout; closing it ends the program. */
  readonly program = async (name: string): Promise<Socket> =>
    socketOf(await this.request({ op: 'program', name }), 'start a program')

  readonly sign = (
    digests: readonly string[],
    from: { seq: number; head: string },
  ): Promise<Checkpoint> => this.#value({ op: 'sign', digests: [...digests], ...from })

  readonly facts = (): Promise<WardenFacts> => this.#value({ op: 'facts' })

  /** Subscribes to reports of its system calls, from its claim on; one listener a wall. */
  readonly onCall = (wall: string, then: (seen: SeenReport) => void): void =>
    void this.#onCall.set(wall, then)

  /** Subscribes to events of its program zones; one listener a wall. */
  readonly onZone = (wall: string, then: (state: ZoneReport) => void): void =>
    void this.#onZone.set(wall, then)

  /** Subscribes to its end; one listener a wall, called once. */
  readonly onEnded = (wall: string, then: Ended): void => {
    const early = this.#early.get(wall)
    this.#early.delete(wall)
    if (early) then(...early)
    else this.#listeners.set(wall, then)
  }

  /** Subscribes to changes of whether whole programs start with a sentinel; one listener. */
  readonly onSentinel = (then: (state: SentinelState) => void): void => {
    this.#onSentinel = then
    if (this.#sentinel) then(this.#sentinel)
    this.#sentinel = undefined
  }

  /** Subscribes to the loss of the warden: no wall can be started or bounded any more. Returns the unsubscribe function. */
  readonly onLost = (then: () => void): Unsubscribe => {
    this.#onLost.add(then)
    return () => void this.#onLost.delete(then)
  }

  /** Sends a request; its type of answer is that of the protocol. */
  async #value<T>(request: WardenRequest): Promise<T> {
    return (await this.request(request)).value as T
  }

  /** Kills a wall whose sockets are missing: this process may have been out of descriptors (EMFILE). */
  async #started(request: WardenRequest, what: string): Promise<StartedWall> {
    const answer = await this.request(request)
    const started = startedWall(answer)
    if (started) return started
    for (const one of [answer.handle, ...Object.values(answer.parts)]) if (one) closeHandle(one)
    await this.request({ op: 'kill', wall: (answer.value as Wall).id })
    throw new MayflyError('UNAVAILABLE', `Cannot ${what} not received`, {
      hint: 'Allow this process more open files',
    })
  }

  request(request: WardenRequest): Promise<Answer> {
    if (this.#lost) return Promise.reject(lost())
    const id = this.#nextId++
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    const msMax = isLong(request) ? START_MS_MAX : ANSWER_MS_MAX
    const timer = setTimeout(() => {
      dropParts(this.#pending.get(id))
      this.#remove(id)
      const why = `the warden did not answer in ${msMax} ms`
      reject(new MayflyError('WARDEN_LOST', `Cannot ${request.op}: ${why}`))
    }, msMax)
    timer.unref()
    if (this.#pending.size === 0) this.#keepAlive(true)
    this.#pending.set(id, { resolve, reject, timer, parts: {} })
    this.#send({ protocol: 1, id, ...request })
    return promise
  }

  /** Sends a request without an answer. */
  #notify(request: WardenRequest): void {
    if (!this.#lost) this.#send({ protocol: 1, id: this.#nextId++, ...request })
  }

  /** Handles a message of the warden; `handle` is the socket that came with it (fd passing). */
  receive(reply: Reply, handle?: Socket | Server): void {
    // A socket of a wall that ends, or a listener that cannot accept, before it has a reader must not crash this process.
    handle?.on('error', () => undefined)
    if ('ended' in reply) return this.#receiveEnd(reply)
    if ('seen' in reply) return this.#onCall.get(reply.of)?.(reply.seen)
    if ('zone' in reply) return this.#onZone.get(reply.of)?.(reply.zone)
    if ('sentinel' in reply) return this.#receiveSentinelState(reply.sentinel)
    if ('swept' in reply) return this.#swept.resolve(reply.swept)
    if ('part' in reply) return this.#receivePart(reply, handle as Socket | undefined)
    const pending = this.#pending.get(reply.id)
    if (!pending) return handle && closeHandle(handle)
    this.#remove(reply.id)
    clearTimeout(pending.timer)
    if (reply.ok) return pending.resolve({ value: reply.value, handle, parts: pending.parts })
    dropParts(pending)
    const hint = reply.hint ? { hint: reply.hint } : {}
    pending.reject(new MayflyError(reply.code as ErrorCode, reply.message, hint))
  }

  disconnected(): void {
    if (this.#lost) return
    this.#lost = true
    for (const pending of this.#pending.values()) {
      clearTimeout(pending.timer)
      dropParts(pending)
      pending.reject(lost())
    }
    this.#pending.clear()
    this.#keepAlive(false)
    for (const then of this.#onLost) then()
  }

  #remove(id: number): void {
    this.#pending.delete(id)
    if (this.#pending.size === 0) this.#keepAlive(false)
  }

  #receiveSentinelState(state: SentinelState): void {
    if (this.#onSentinel) this.#onSentinel(state)
    else this.#sentinel = state
  }

  #receivePart(
    { of, part }: Extract<Reply, { part: StreamName }>,
    socket: Socket | undefined,
  ): void {
    const pending = this.#pending.get(of)
    if (pending && socket) pending.parts[part] = socket
    else socket?.destroy()
  }

  #receiveEnd(reply: Extract<Reply, { ended: string }>): void {
    const listener = this.#listeners.get(reply.ended)
    this.#listeners.delete(reply.ended)
    this.#onCall.delete(reply.ended)
    this.#onZone.delete(reply.ended)
    const end = [reply.how, reply.peakBytes, reply.detail, reply.exit, reply.limit] as const
    if (listener) listener(...end)
    else this.#early.set(reply.ended, [...end])
  }
}

/** Client as its users see it, without the side of the channel. */
export type WardenClient = Omit<Client, 'request' | 'receive' | 'disconnected'>

/** An emulated machine boots, or is restored; the save of one may have to wait for the end of another. */
const isLong = ({ op }: WardenRequest) => long.includes(op)
const long: readonly string[] = ['start', 'resumed', 'fork', 'forked']

function dropParts(pending: PendingRequest | undefined): void {
  for (const socket of Object.values(pending?.parts ?? {})) socket.destroy()
}

function lost(): MayflyError {
  return new MayflyError('WARDEN_LOST', 'Cannot reach the warden: it has ended', {
    hint: 'Every wall ended with it; start Mayfly again',
  })
}

/** Throws MayflyError UNAVAILABLE without the socket, as where this process is out of descriptors. */
function socketOf({ handle }: Answer, what: string): Socket {
  if (handle) return handle as Socket
  throw new MayflyError(
    'UNAVAILABLE',
    `Cannot ${what}: its wall has just ended, or this process has no file descriptor left`,
    { hint: 'Ask while the job runs; where many run at a time, raise "ulimit -n"' },
  )
}

/** Undefined if a socket is missing: this process may have been out of descriptors (EMFILE) when it was passed. */
function startedWall({ value, handle, parts }: Answer): StartedWall | undefined {
  const wall = value as Wall
  const { stdout, stderr } = parts
  if (!handle) return undefined
  const socket = handle as Socket
  if (!isWhole(wall)) return { wall, socket }
  if (!stdout || !stderr) return undefined
  return { wall, socket, streams: { stdout, stderr } }
}

function isWhole({ program, isCarried }: Wall): boolean {
  if (isCarried) return false
  return program === 'node' || program === 'python'
}

/** Client of a warden over an IPC channel: the parent process, or a child that this process started. */
export function joinWarden(
  channel: NodeJS.Process | ChildProcess,
  close: () => Promise<void>,
  keepAlive?: (pending: boolean) => void,
): WardenClient {
  const send = (request: Request) =>
    void channel.send!(request, undefined, {}, (error: Error | null) => {
      if (error) client.disconnected()
    })
  const client = new Client(send, close, keepAlive)
  channel.on('message', (reply: unknown, handle: unknown) =>
    client.receive(reply as Reply, handle as Socket | Server | undefined),
  )
  channel.on('disconnect', () => client.disconnected())
  // 'disconnect' may be missing if a socket is being passed; 'exit' of a child is always emitted.
  if (channel !== process) channel.on('exit', () => client.disconnected())
  return client
}
