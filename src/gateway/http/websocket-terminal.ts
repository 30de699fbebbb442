/**
 * Terminals of sessions over WebSocket: `GET /v1/sandboxes/{id}/pty`.
 *
 * Binary messages are bytes of the terminal. Text messages are JSON: `{"resize": {"cols", "rows"}}` and
 * `{"signal": "SIGINT"}` from the client, `{"exit": {"code", "signal"}}` from the server, which then closes with 1000.
 *
 * With a key in the header the terminal is opened before the upgrade, so that its errors are those of every other call. A
 * browser cannot send that header: the first message is then `{"token": "…"}`, and an error is `{"problem": …}` before a
 * close with 4000 and its status. A key is never in the address, which ends up in logs; so variables are not either.
 *
 * Limits: 64 KiB for a message (1009), 4 KiB for a control message, of which ten a second after a burst of 300 are read;
 * of messages with bytes, which may be none, a hundred times as many. Back-pressure in both directions: the socket is
 * paused while the guest does not read its input, and the guest blocks while the client does not read the output. Control
 * messages have no acknowledgement of the guest, so a frozen one would let them pile up here.
 */
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { RawData, WebSocket, WebSocketServer } from 'ws'
import { MayflyError } from '../../contract/error.ts'
import type { Job } from '../../contract/job.ts'
import type { Outcome } from '../../contract/outcome.ts'
import {
  terminalControl,
  terminalMessageBytesMax,
  type Terminal,
  type TerminalTask,
} from '../../contract/terminal.ts'
import { RateBucket } from '../../lib/rate-bucket.ts'
import { tryParseJson } from '../../lib/parse-json.ts'
import type { OpenSession } from '../../sessions/open-sessions.ts'
import { endedBeforeExec, readTerminal, terminalJob } from '../../sessions/session-job.ts'
import { ownSession } from '../doors/sessions.ts'
import { authenticateRequest, refuseOver, watchKey } from './authenticate-request.ts'
import { authorise } from './auth.ts'
import type { Identity } from './keys.ts'
import { refuseForeignPages } from './origin.ts'
import type { Authentication, GatewayParts, JobStart, SessionParts } from './parts.ts'
import { clientGroup } from './client-address.ts'
import { traceOf } from './request-trace.ts'
import { startJob, type StartedJob } from './start-job.ts'
import { endUnread, makeUpgrader, WebSocketStream } from './websocket-stream.ts'

const CONTROL_BYTES_MAX = 4096
/** Control messages read at once, as of a window that is dragged, and later in each millisecond. */
const CONTROLS_BURST = 300
const CONTROLS_EACH_MS = 0.01
/** Part of a control message that a message with bytes costs. */
const BYTES_COST = 0.01
/** Bytes in the send buffer above which the guest blocks. */
const BUFFERED_BYTES_MAX = 65_536
/** Maximum of idle periods of a client with unread output, which may have stopped its own terminal (Ctrl-S). */
const STALLS_MAX = 10
const WORDS_MAX = 1000
const DONE = 1000
const UNREADABLE = 1008
const TOO_LARGE = 1009
const STATUS_BASE = 4000

export const terminalRoute = '/v1/sandboxes/{id}/pty'
const terminalPath = /^\/v1\/sandboxes\/([^/]{1,100})\/pty$/

export type TerminalParts = JobStart &
  Authentication &
  SessionParts &
  Pick<GatewayParts, 'limits' | 'history'>

/** Upgrade request. */
export interface Upgrade {
  readonly incoming: IncomingMessage
  readonly socket: Socket
  readonly head: Buffer
}

/** Id of the session whose terminal this path is. */
export function sessionOfTerminal(path: string): string | undefined {
  return terminalPath.exec(path)?.[1]
}

/** WebSocket server for terminals, with smaller messages than for jobs. */
export function makeTerminalServer(): WebSocketServer {
  return makeUpgrader({ maxPayload: terminalMessageBytesMax, maxFragments: 64 })
}

/** Opens a terminal for an upgrade, and serves it until either end closes. Throws before the upgrade. */
export async function serveTerminal(
  parts: TerminalParts,
  id: string,
  { incoming, socket, head }: Upgrade,
  { server, opened }: { server: WebSocketServer; opened: (client: WebSocket) => void },
): Promise<void> {
  refuseForeignPages(incoming)
  // After 'upgrade' Node no longer handles errors of the socket; an unhandled 'error' would crash the server.
  socket.on('error', () => socket.destroy())
  const { authorization } = incoming.headers
  const upgraded = (serve: (client: WebSocket) => void): void =>
    server.handleUpgrade(incoming, socket, head, (client) => {
      opened(client)
      const stream = new WebSocketStream(client, socket)
      client.once('close', () => stream[Symbol.dispose]())
      serve(client)
    })
  if (authorization === undefined) {
    refuseOver(parts.addressRate.take(clientGroup(incoming)))
    return upgraded((client) => void withToken(parts, id, { incoming, socket, head }, client))
  }
  const identity = authenticateRequest(parts, { incoming })
  const opening = openFor(parts, id, incoming, identity)
  socket.once('close', opening.cancel)
  watchKey(parts, { authorization, identity }, socket, opening.cancel)
  await opening.terminal
  upgraded((client) => void converse(parts, opening, client, socket))
}

/** Authenticates by the first message. */
async function withToken(
  parts: TerminalParts,
  id: string,
  { incoming, socket }: Upgrade,
  client: WebSocket,
): Promise<void> {
  client.on('error', () => undefined)
  try {
    const authorization = `Bearer ${await tokenOf(parts, client)}`
    const identity = authenticateRequest(parts, { incoming }, authorization)
    const opening = openFor(parts, id, incoming, identity)
    socket.once('close', opening.cancel)
    watchKey(parts, { authorization, identity }, socket, opening.cancel)
    await opening.terminal
    await converse(parts, opening, client, socket)
  } catch (thrown) {
    const problem = parts.refusals.problem(thrown)
    if (client.readyState !== client.OPEN) return
    client.send(JSON.stringify({ problem }))
    client.close(STATUS_BASE + problem.status)
    endUnread(socket)
  }
}

async function tokenOf({ limits }: TerminalParts, client: WebSocket): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const fail = () =>
    reject(new MayflyError('UNAUTHENTICATED', 'Cannot read the key in the message'))
  const timer = setTimeout(fail, limits.bodyMs)
  client.once('close', fail)
  client.once('message', (data: RawData, isBinary: boolean) => {
    const bytes = data as Buffer
    const asked =
      isBinary || bytes.length > CONTROL_BYTES_MAX
        ? undefined
        : tryParseJson(bytes.toString('utf8'))
    // Later messages belong to the terminal.
    client.pause()
    const { token } = (asked ?? {}) as { readonly token?: unknown }
    if (typeof token === 'string') resolve(token)
    else fail()
  })
  try {
    return await promise
  } finally {
    clearTimeout(timer)
  }
}

interface Opening {
  readonly terminal: Promise<Terminal>
  readonly outlet: Outlet
  readonly started: StartedJob
  readonly cancel: () => void
}

/** Throws the error that refuses the request; `terminal` rejects with the error that refuses the terminal. */
function openFor(
  parts: TerminalParts,
  id: string,
  incoming: IncomingMessage,
  identity: Identity,
): Opening {
  authorise(identity, ['run'])
  const held = ownSession(parts, identity, id)
  const asked = readTerminal(asAsked(incoming.url ?? ''))
  const { tenant, principal } = identity
  const owner = { tenant, principal, origin: 'websocket', ...traceOf(incoming) } as const
  const { job, task } = terminalJob(asked, { id, asked: held.asked }, owner, parts.clock)
  const outlet = new Outlet()
  const { promise: terminal, resolve, reject } = Promise.withResolvers<Terminal>()
  terminal.catch(() => undefined)
  const road = roadOf(parts, held, { task, outlet, opened: resolve, refused: reject })
  const started = startJob({ ...parts, road }, job)
  started.ended.catch(reject)
  const cancel = (): void => {
    outlet.close()
    started.cancel()
    started.ended.catch(() => undefined).finally(started.answered)
  }
  return { terminal, outlet, started, cancel }
}

interface RoadParts {
  readonly task: TerminalTask
  readonly outlet: Outlet
  readonly opened: (terminal: Terminal) => void
  readonly refused: (why: unknown) => void
}

/** Runs a terminal as a job, so that it has a slot, a quota and a row in the history. */
function roadOf(
  { live }: TerminalParts,
  held: OpenSession,
  { task, outlet, opened, refused }: RoadParts,
): JobStart['road'] {
  return async (job: Job, { signal }): Promise<Outcome> => {
    live.runs(job.id)
    const made = await held.terminal(job, task, (chunk) => outlet.print(chunk))
    if (made.kind === 'ended') {
      refused(endedBeforeExec(made.outcome))
      return made.outcome
    }
    const { terminal } = made
    const hangUp = (): void => void terminal.close().catch(() => undefined)
    if (signal.aborted) hangUp()
    signal.addEventListener('abort', hangUp, { once: true })
    opened(terminal)
    return await terminal.ended
  }
}

/** Parses the query. `command` may be repeated, one argument each; a single one is a line for `sh`. Throws MayflyError INVALID. */
function asAsked(url: string): unknown {
  const { searchParams: query } = new URL(url, 'http://query')
  const asked: Record<string, unknown> = {}
  for (const name of new Set(query.keys())) {
    const given = query.getAll(name).slice(0, WORDS_MAX)
    if (name === 'command') asked[name] = given.length === 1 ? given[0] : given
    else asked[name] = /^\d{1,9}$/.test(given[0]!) ? Number(given[0]) : given[0]
  }
  return asked
}

/** Buffers output until the client is connected, then sends it. */
class Outlet {
  readonly #client = Promise.withResolvers<WebSocket | undefined>()
  readonly #closed = Promise.withResolvers<void>()

  attach(client: WebSocket): void {
    client.once('close', () => this.close())
    this.#client.resolve(client)
  }

  async print(chunk: Uint8Array): Promise<void> {
    const client = await this.#client.promise
    if (client?.readyState !== client?.OPEN || !client) return
    const sent = new Promise<void>((resolve) => client.send(chunk, () => resolve()))
    if (client.bufferedAmount > BUFFERED_BYTES_MAX) await Promise.race([sent, this.#closed.promise])
  }

  close(): void {
    this.#client.resolve(undefined)
    this.#closed.resolve()
  }
}

async function converse(
  { limits, refusals }: TerminalParts,
  { terminal: opening, outlet, started, cancel }: Opening,
  client: WebSocket,
  raw: Socket,
): Promise<void> {
  const terminal = await opening
  client.on('error', () => undefined)
  client.once('close', cancel)
  passMessages(client, terminal)
  endStalled(client, raw, limits.writeMs)
  outlet.attach(client)
  try {
    const { outcome } = await started.ended
    if (client.readyState === client.OPEN) client.send(JSON.stringify({ exit: exitOf(outcome) }))
  } catch (thrown) {
    const problem = refusals.problem(thrown)
    if (client.readyState === client.OPEN) client.send(JSON.stringify({ problem }))
  } finally {
    client.close(DONE)
    started.answered()
  }
}

function exitOf({ exitCode, signal, error }: Outcome) {
  const isOwn = exitCode !== null || signal !== null
  return {
    code: exitCode,
    signal,
    ...(error && !isOwn && { error: { code: error.code, message: error.message } }),
  }
}

interface TerminalClient {
  on(event: 'message', then: (data: RawData, isBinary: boolean) => void): unknown
  pause(): void
  resume(): void
  close(code: number, reason: string): void
}

/** Passes the messages of a client to its terminal, and reads no more of them while the terminal takes none. */
export function passMessages(
  client: TerminalClient,
  terminal: Pick<Terminal, 'write' | 'resize' | 'signal'>,
): void {
  let waiting = 0
  let typed: Promise<void> = Promise.resolve()
  let isSlowed = false
  const rate = new RateBucket({ burst: CONTROLS_BURST, eachMs: CONTROLS_EACH_MS })
  const hold = (work: Promise<unknown>): void => {
    waiting++
    client.pause()
    void work.finally(() => --waiting === 0 && client.resume())
  }
  const slow = async (): Promise<void> => {
    isSlowed = true
    // Messages of the chunk that was read last arrive while the client is paused.
    while (rate.left <= 0) await sleep(Math.max(1, rate.overdrawnMs), undefined, { ref: false })
    isSlowed = false
  }
  client.on('message', (data: RawData, isBinary: boolean) => {
    const bytes = data as Buffer
    if (isBinary) {
      typed = typed.then(() => terminal.write(bytes)).catch(() => undefined)
      hold(typed)
    } else control(client, terminal, bytes)
    rate.spend(isBinary ? BYTES_COST : 1)
    if (rate.left <= 0 && !isSlowed) hold(slow())
  })
  client.resume()
}

function control(
  client: Pick<TerminalClient, 'close'>,
  terminal: Pick<Terminal, 'resize' | 'signal'>,
  bytes: Buffer,
): void {
  if (bytes.length > CONTROL_BYTES_MAX) return client.close(TOO_LARGE, 'control is too large')
  const read = terminalControl.safeParse(tryParseJson(bytes.toString('utf8')))
  if (!read.success) return client.close(UNREADABLE, 'control is unreadable')
  if ('resize' in read.data) terminal.resize(read.data.resize)
  else terminal.signal(read.data.signal)
}

/** Disconnects a client that takes no byte, and after more time a client that has stopped its own terminal. */
function endStalled(client: WebSocket, raw: Socket, writeMs: number): void {
  let stalls = 0
  raw.setTimeout(writeMs)
  raw.on('timeout', () => {
    if (client.bufferedAmount === 0 || ++stalls > STALLS_MAX) client.terminate()
    else raw.setTimeout(writeMs)
  })
}
