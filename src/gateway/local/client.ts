import { isUtf8 } from 'node:buffer'
import { randomBytes } from 'node:crypto'
import { addAbortListener } from 'node:events'
import { connect, type Socket } from 'node:net'
import { MayflyError, type ErrorCode } from '../../contract/error.ts'
import type { TimelineEntry } from '../../contract/event.ts'
import type { JobRequest } from '../../contract/job.ts'
import type { PackageLayer } from '../../contract/layer.ts'
import type { Outcome } from '../../contract/outcome.ts'
import type { OutputListener } from '../../contract/pipeline.ts'
import type { Profile } from '../../contract/profile.ts'
import { encodeFrame, FrameDecoder, type Frame } from '../../lib/frames.ts'
import { parseJson } from '../../lib/parse-json.ts'
import { readRecord, socketPath, type ServerRecord } from './place.ts'
import {
  outcomeBytesMax,
  framesOfText,
  isProof,
  localKinds,
  nonceBytes,
  partBytesMax,
  proofBytes,
  proofOf,
  protocol,
  runRequestBytesMax,
  TextParts,
} from './wire.ts'

/** Timeout of a server during the handshake; a hung server counts as absent. */
const GREETING_MS_MAX = 2_000

/** Job in the form that is sent: everything that the server receives from its caller. */
export interface SentJob {
  readonly request: JobRequest
  readonly packages: readonly PackageLayer[]
  /** True if the caller subscribes to timeline entries. */
  readonly watch: boolean
  /** True if the caller takes output as it comes; otherwise the outcome has all of it. */
  readonly live: boolean
}

/** Profile of a job, with facts about its wall for `--explain`. */
export interface PlannedRun {
  readonly profile: Profile
  readonly hasSentinel: boolean
}

export interface SentJobListener {
  readonly signal: AbortSignal
  readonly tap?: OutputListener | undefined
  readonly planned?: ((planned: PlannedRun) => void) | undefined
  readonly on?: ((entry: TimelineEntry) => void) | undefined
  /** Called once when the server has accepted the job, before its frames are read. */
  readonly taken?: (() => void) | undefined
}

export interface ServerFacts {
  readonly pid: number
  readonly kind: ServerRecord['kind']
  readonly version: string
  readonly node: string
  readonly state: string
  /** Milliseconds since 1970. */
  readonly since: number
  readonly jobs: { readonly running: number; readonly done: number }
  /** Idle timeout in milliseconds; null for a server that does not exit when idle. */
  readonly idle: number | null
}

/** Connection to an authenticated server; accepts one job or one order. */
export interface AttachedServer {
  readonly pid: number
  /**
   * Runs a job; undefined if the server declined it and nothing of it ran. Throws MayflyError like the pipeline, and INTERNAL
   * if the connection to the server is lost.
   */
  run(job: SentJob, listener: SentJobListener): Promise<Outcome | undefined>
  facts(): Promise<ServerFacts>
  stop(): Promise<void>
  close(): void
}

/** Attaches to the server of this name; undefined if none exists or its proof fails. */
export async function attach(folder: string, name: string): Promise<AttachedServer | undefined> {
  const record = readRecord(folder, name)
  return record && attachTo(folder, record)
}

export async function attachTo(
  folder: string,
  record: ServerRecord,
): Promise<AttachedServer | undefined> {
  const path = socketPath(folder, record.socket)
  if (path === undefined) return undefined
  const socket = connect(path)
  // An error also ends the frames, which is what callers see.
  socket.on('error', () => undefined)
  socket.setTimeout(GREETING_MS_MAX, () => socket.destroy())
  const frames = new Frames(socket)
  try {
    if (await isGreeted(socket, frames, record)) {
      socket.setTimeout(0)
      return serverOn(socket, frames, record.owner.pid)
    }
  } catch {
    // Malformed frames fail the proof.
  }
  socket.destroy()
  return undefined
}

/**
 * Reads frames of a socket one at a time; the socket is paused between reads. Uses events, because an async iterator of a stream
 * costs a tenth of the time of a whole run.
 */
class Frames {
  readonly #socket: Socket
  readonly #decoder = new FrameDecoder(partBytesMax)
  #ready: Frame[] = []
  #broken: unknown
  #isOver = false
  #wake: (() => void) | undefined

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('close', () => {
      this.#isOver = true
      this.#wake?.()
    })
    socket.pause()
  }

  /** Next frame; undefined at the end. Throws RangeError for a malformed frame. */
  async next(): Promise<Frame | undefined> {
    while (this.#ready.length === 0 && !this.#isOver && !this.#broken) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#wake = resolve
      this.#socket.resume()
      await promise
    }
    const frame = this.#ready.shift()
    if (!frame && this.#broken) throw this.#broken
    return frame
  }

  #read(chunk: Buffer): void {
    this.#socket.pause()
    try {
      for (const frame of this.#decoder.push(chunk)) this.#ready.push(frame)
    } catch (thrown) {
      this.#broken = thrown
      this.#socket.destroy()
    }
    this.#wake?.()
  }
}

async function isGreeted(socket: Socket, frames: Frames, record: ServerRecord): Promise<boolean> {
  const { name, secret } = record
  const client = randomBytes(nonceBytes)
  socket.write(encodeFrame(localKinds.hello, Buffer.concat([Buffer.of(protocol), client])))
  const challenge = await frames.next()
  if (challenge?.kind !== localKinds.challenge) return false
  if (challenge.payload.length !== nonceBytes + proofBytes) return false
  const nonces = { client, server: challenge.payload.subarray(0, nonceBytes) }
  const proof = challenge.payload.subarray(nonceBytes)
  if (!isProof(proof, proofOf(secret, 'server', name, nonces))) return false
  socket.write(encodeFrame(localKinds.proof, proofOf(secret, 'client', name, nonces)))
  const ready = await frames.next()
  return ready?.kind === localKinds.ready
}

function serverOn(socket: Socket, frames: Frames, pid: number): AttachedServer {
  return {
    pid,
    async run(job, listener) {
      const text = JSON.stringify(job)
      if (Buffer.byteLength(text) > runRequestBytesMax) return undefined
      const cancel = () => void socket.write(encodeFrame(localKinds.cancel, ''))
      let isUnsent = !socket.writable
      const note = (error?: Error | null) => void (isUnsent ||= error != null)
      for (const frame of framesOfText(text, localKinds.part, localKinds.run))
        socket.write(frame, note)
      using _cancelling = addAbortListener(listener.signal, cancel)
      try {
        const first = await frames.next()
        // A server that never got the whole job, because it ended while this process read its input, ran nothing of it.
        if (!first && isUnsent) return undefined
        return await outcomeIn(first, frames, listener)
      } finally {
        socket.destroy()
      }
    },
    async facts() {
      socket.write(encodeFrame(localKinds.status, ''))
      const frame = await frames.next()
      if (frame?.kind !== localKinds.facts) throw lost()
      return parseJson(frame.payload.toString()) as ServerFacts
    },
    async stop() {
      socket.write(encodeFrame(localKinds.stop, ''))
      // The server closes the connection once it accepts no more jobs.
      await frames.next()
    },
    close: () => void socket.destroy(),
  }
}

async function outcomeIn(
  first: Frame | undefined,
  frames: Frames,
  listener: SentJobListener,
): Promise<Outcome | undefined> {
  const parts = new TextParts(outcomeBytesMax)
  let { taken } = listener
  for (let frame = first; ; frame = await frames.next()) {
    if (!frame) throw lost()
    if (frame.kind === localKinds.declined) return undefined
    taken?.()
    taken = undefined
    if (frame.kind === localKinds.answerPart) parts.push(frame.payload)
    else if (frame.kind === localKinds.outcome) return parseJson(parts.take()) as Outcome
    else if (frame.kind === localKinds.refused) throw errorIn(parts.take())
    else if (frame.kind === localKinds.planned) {
      const text = parts.take()
      listener.planned?.(parseJson(text) as PlannedRun)
    } else await dispatch(frame, listener)
  }
}

async function dispatch({ kind, payload }: Frame, { tap, on }: SentJobListener): Promise<void> {
  const bytes = isUtf8(payload) ? undefined : payload
  if (kind === localKinds.stdout) await tap?.('stdout', payload.toString(), bytes)
  else if (kind === localKinds.stderr) await tap?.('stderr', payload.toString(), bytes)
  else if (kind === localKinds.entry) on?.(parseJson(payload.toString()) as TimelineEntry)
  else throw new MayflyError('PROTOCOL', `Cannot read a frame of kind ${kind} from the server`)
}

function errorIn(text: string): MayflyError {
  const { code, message, hint, details } = parseJson(text) as {
    readonly code: ErrorCode
    readonly message: string
    readonly hint?: string
    readonly details?: unknown
  }
  return new MayflyError(code, message, { ...(hint && { hint }), details })
}

function lost(): MayflyError {
  return new MayflyError('INTERNAL', 'Cannot finish the job: the server that ran it has ended', {
    hint: 'Retry, or use --once to run without a server',
  })
}
