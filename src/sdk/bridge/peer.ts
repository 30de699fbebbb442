/**
 * End of the socket between an application and its host process. Both ends are symmetric: each calls the other,
 * by the number of an object and the path of a member, or by the number of a function that was passed in a call.
 *
 *     call    [id, target, path, args]  ──►  answer [id, value] | fault [id, error]
 *     invoke  [id, function, args]      ──►  the same; no response for id 0
 *     abort   [signal, reason]               of an AbortSignal that was passed
 *     forget  [signal]                       kept after its call, and collected on this side
 *     free    [object…]                      unreachable on this side
 *
 * Bounds: bytes of a message, calls in flight, unsent bytes of one-way invocations. The end of the
 * socket ends every call with an error.
 */
import type { Duplex } from 'node:stream'
import { closedError, MayflyError, messageOf } from '../../contract/error.ts'
import { encodeFrame, FrameDecoder, type Frame } from '../../lib/frames.ts'
import { parseJson } from '../../lib/parse-json.ts'
import { resolvesWithin } from '../../lib/within.ts'
import {
  decodeMessage,
  encodeMessage,
  type Callable,
  type ExportedObject,
  type Packing,
} from './codec.ts'
import { KeptSignals } from './kept-signals.ts'
import type { ArgumentRules, FunctionRow } from './table.ts'

export const bridgeKinds = {
  call: 1,
  answer: 2,
  fault: 3,
  invoke: 4,
  abort: 5,
  free: 6,
  forget: 7,
} as const

/** Maximum message; the largest outcome and the largest request fit. */
export const messageBytesMax = 400 * 2 ** 20
/** `toldBytes`: unsent bytes above which one-way invocations are dropped. */
const usualBounds = { messageBytes: messageBytesMax, calls: 10_000, toldBytes: 64 * 2 ** 20 }
/** Path of the arguments in a call and in an invocation. */
const ARGS_OF_CALL = '3.'

export interface PeerParts {
  /** Serves a call of the other side. */
  readonly serve: (call: ServedCall) => unknown
  /** Finds an object of this side by the number that the other side uses. */
  readonly held: (id: number) => unknown
  readonly free?: (ids: readonly number[]) => void
  /** Instances and copies of objects that stay on the other side. */
  readonly instance?: (id: number, className: string, facts: unknown) => object
  readonly remember?: (id: number, value: object) => void
  readonly referenceTo?: (value: object) => number | undefined
  readonly ended: (because: Error | undefined) => void
  /** Called with true while responses are pending. */
  readonly busy?: (isBusy: boolean) => void
  /** Smaller bounds, for tests. */
  readonly bounds?: Partial<typeof usualBounds>
}

export interface ServedCall {
  readonly target: number
  readonly path: string
  readonly args: readonly unknown[]
  /** Makes the response refer to objects of this side. */
  answerWith(holding: (value: object) => ExportedObject | undefined): void
}

interface Pending {
  resolve(value: unknown): void
  reject(error: unknown): void
  /** Functions and signals passed with the call. */
  readonly lent: Lent
}

/** Functions and signals that this side has lent with one call. */
interface Lent {
  readonly functions: number[]
  readonly signals: (() => void)[]
}

export class Peer {
  readonly #socket: Duplex
  readonly #parts: PeerParts
  readonly #bounds: typeof usualBounds
  readonly #pending = new Map<number, Pending>()
  readonly #functions = new Map<number, Callable>()
  readonly #signals = new Map<number, AbortController>()
  readonly #kept = new KeptSignals({
    nextNumber: () => ++this.#last,
    aborted: (id, reason) => this.#sendAbort(id, reason),
    collected: (id) => {
      if (!this.#end) this.#send(bridgeKinds.forget, [id])
    },
  })
  #last = 0
  #hasLost = false
  #end: Error | undefined

  constructor(socket: Duplex, parts: PeerParts) {
    this.#socket = socket
    this.#parts = parts
    this.#bounds = { ...usualBounds, ...parts.bounds }
    const decoder = new FrameDecoder(this.#bounds.messageBytes)
    socket.on('data', (chunk: Buffer) => this.#read(decoder, chunk))
    socket.on('error', (error) => this.#close(error))
    socket.on('close', () => this.#close(undefined))
  }

  /** Calls a member of an object of the other side. */
  call(target: number, path: string, args: readonly unknown[], rules: ArgumentRules = {}) {
    return this.#ask(bridgeKinds.call, [target, path, args], rules)
  }

  /** Encodes a call, for a separate channel. */
  encodeCall(target: number, path: string, args: readonly unknown[]): Buffer {
    return encodeFrame(bridgeKinds.call, encodeMessage([0, target, path, args], this.#packing()))
  }

  /** Decodes the response on such a channel; throws the error of the call. */
  decodeAnswer({ kind, payload }: Frame): unknown {
    const [, value] = decodeMessage(payload, this.#unpacking([])) as [number, unknown]
    if (kind === bridgeKinds.fault) throw value
    return value
  }

  free(ids: readonly number[]): void {
    if (!this.#end) this.#send(bridgeKinds.free, ids)
  }

  /** Throws MayflyError WARDEN_LOST after the end of the socket. */
  assertOpen(): void {
    if (this.#end) throw this.#end
  }

  /** Flushes and ends the socket; later calls are CONFLICT, unless it had ended by itself. */
  end(): void {
    if (!this.#end) this.#fail(closedError())
    this.#socket.end()
  }

  #ask(kind: number, message: readonly unknown[], rules: ArgumentRules): Promise<unknown> {
    if (this.#end) return Promise.reject(this.#end)
    const { calls } = this.#bounds
    if (this.#pending.size >= calls)
      return Promise.reject(
        new MayflyError('OVERLOADED', `Cannot have more than ${calls} calls in flight`),
      )
    const id = ++this.#last
    const lent: Lent = { functions: [], signals: [] }
    return new Promise((resolve, reject) => {
      try {
        this.#send(kind, [id, ...message], this.#packing(rules, lent))
      } catch (thrown) {
        this.#takeBack(lent)
        reject(thrown)
        return
      }
      this.#pending.set(id, { resolve, reject, lent })
      if (this.#pending.size === 1) this.#parts.busy?.(true)
    })
  }

  #send(kind: number, message: readonly unknown[], packing: Packing = {}): void {
    const payload = encodeMessage(message, packing)
    const { messageBytes } = this.#bounds
    if (payload.length > messageBytes) {
      const problem = `Cannot send ${payload.length} bytes to the Mayfly process`
      throw new MayflyError('TOO_LARGE', `${problem}: the limit is ${messageBytes}`)
    }
    this.#socket.write(encodeFrame(kind, payload))
  }

  /** Sends the second message if the first cannot be written, as an error whose cause contains itself. */
  #sendEither(kind: number, message: readonly unknown[], otherwise: readonly unknown[]): void {
    try {
      this.#send(kind, message)
    } catch {
      this.#send(kind, otherwise)
    }
  }

  #packing(rules: ArgumentRules = {}, lent?: Lent): Packing {
    const { functions = {}, keepsFunctions, keepsSignals = false, json = [] } = rules
    const { referenceTo } = this.#parts
    return {
      ...(referenceTo && { referenceTo }),
      isJson: (path) => json.includes(inArguments(path)),
      functionAt: (path, value) => {
        const row = rowOf(inArguments(path), functions)
        if (!row || !lent) return undefined
        const id = ++this.#last
        this.#functions.set(id, row.kind === 'json' ? answeringText(value) : value)
        if (!keepsFunctions) lent.functions.push(id)
        return [id, row.kind, row.msMax ?? null]
      },
      signal: (value) =>
        keepsSignals && !value.aborted
          ? [this.#kept.numberOf(value), false, true]
          : [...this.#lendSignal(value, lent), false],
    }
  }

  #lendSignal(value: AbortSignal, lent: Lent | undefined): readonly [number, boolean] {
    const id = ++this.#last
    const abort = (): void => this.#sendAbort(id, value.reason)
    if (lent && !value.aborted) {
      value.addEventListener('abort', abort, { once: true })
      lent.signals.push(() => value.removeEventListener('abort', abort))
    }
    return [id, value.aborted]
  }

  #sendAbort(id: number, reason: unknown): void {
    if (!this.#end) this.#sendEither(bridgeKinds.abort, [id, reason], [id])
  }

  #takeBack({ functions, signals }: Lent): void {
    for (const id of functions) this.#functions.delete(id)
    for (const forget of signals) forget()
  }

  #read(decoder: FrameDecoder, chunk: Buffer): void {
    try {
      for (const frame of decoder.push(chunk)) this.#receive(frame)
    } catch (cause) {
      const error = new MayflyError('PROTOCOL', `Cannot read a message: ${messageOf(cause)}`, {
        cause,
      })
      this.#socket.destroy(error)
    }
  }

  #receive({ kind, payload }: Frame): void {
    const signals: number[] = []
    const message = decodeMessage(payload, this.#unpacking(signals)) as readonly unknown[]
    if (kind === bridgeKinds.call) void this.#serve(message, signals)
    else if (kind === bridgeKinds.invoke) void this.#invoke(message, signals)
    else if (kind === bridgeKinds.answer || kind === bridgeKinds.fault) this.#settle(kind, message)
    else if (kind === bridgeKinds.abort) this.#abort(message[0] as number, message[1])
    else if (kind === bridgeKinds.forget) this.#signals.delete(message[0] as number)
    else if (kind === bridgeKinds.free) this.#parts.free?.(message as readonly number[])
  }

  #abort(id: number, reason: unknown): void {
    const controller = this.#signals.get(id)
    this.#signals.delete(id)
    controller?.abort(reason)
  }

  async #serve([id, target, path, args]: readonly unknown[], signals: readonly number[]) {
    let holding: Packing['holding']
    const answerWith = (given: NonNullable<Packing['holding']>): void => {
      holding = given
    }
    await this.#answer(
      id as number,
      signals,
      () => holding,
      () => this.#parts.serve({ target, path, args, answerWith } as ServedCall),
    )
  }

  async #invoke([id, number, args]: readonly unknown[], signals: readonly number[]) {
    const called = this.#functions.get(number as number)
    await this.#answer(
      id as number,
      signals,
      () => undefined,
      () => {
        if (!called) throw new MayflyError('NOT_FOUND', 'Cannot call a function after its call')
        return called(...(args as readonly unknown[]))
      },
    )
  }

  async #answer(
    id: number,
    signals: readonly number[],
    holding: () => Packing['holding'],
    work: () => unknown,
  ): Promise<void> {
    try {
      const value = await work()
      const held = holding()
      if (id > 0 && !this.#end)
        this.#send(bridgeKinds.answer, [id, value], held ? { holding: held } : {})
    } catch (thrown) {
      const byText = new Error(messageOf(thrown))
      // A symbol would be written as undefined.
      const fault = typeof thrown === 'symbol' ? byText : thrown
      if (id > 0 && !this.#end) this.#sendEither(bridgeKinds.fault, [id, fault], [id, byText])
    } finally {
      for (const signal of signals) this.#signals.delete(signal)
    }
  }

  #settle(kind: number, [id, value]: readonly unknown[]): void {
    const pending = this.#pending.get(id as number)
    if (!pending) return
    this.#pending.delete(id as number)
    this.#takeBack(pending.lent)
    if (this.#pending.size === 0) this.#parts.busy?.(false)
    if (kind === bridgeKinds.fault) pending.reject(value)
    else pending.resolve(value)
  }

  #unpacking(signals: number[]) {
    const { held, instance, remember } = this.#parts
    return {
      held,
      ...(instance && { instance }),
      ...(remember && { remember }),
      functionBy: (id: unknown, kind: unknown, msMax: unknown) =>
        kind === 'told'
          ? this.#teller(id as number)
          : this.#asker(id as number, kind as FunctionRow['kind'], msMax as number | null),
      signalBy: (id: number, isAborted: boolean, isKept: boolean) => {
        const controller = (isKept && this.#signals.get(id)) || new AbortController()
        if (isAborted) controller.abort()
        this.#signals.set(id, controller)
        if (!isKept) signals.push(id)
        return controller.signal
      },
    }
  }

  #teller(id: number): Callable {
    return (...args) => {
      if (this.#end) return
      if (this.#socket.writableLength <= this.#bounds.toldBytes)
        this.#send(bridgeKinds.invoke, [0, id, args])
      else if (!this.#hasLost) {
        this.#hasLost = true
        process.emitWarning('The application reads events too slowly: some are dropped')
      }
    }
  }

  #asker(id: number, kind: FunctionRow['kind'], msMax: number | null): Callable {
    return async (...args) => {
      const answer = this.#ask(bridgeKinds.invoke, [id, args], {})
      const value = await (msMax === null ? answer : inTime(answer, msMax))
      return kind === 'json' ? parseJson(value as string) : value
    }
  }

  #close(because: Error | undefined): void {
    if (this.#end) return
    const problem = 'Cannot reach the Mayfly process: it exited'
    this.#fail(new MayflyError('WARDEN_LOST', problem, { cause: because }))
    this.#parts.ended(because)
  }

  #fail(end: Error): void {
    this.#end = end
    for (const { reject, lent } of this.#pending.values()) {
      this.#takeBack(lent)
      reject(end)
    }
    this.#pending.clear()
    this.#kept.close()
    for (const controller of this.#signals.values()) controller.abort(end)
    this.#parts.busy?.(false)
  }
}

function inArguments(path: string): string {
  return path.startsWith(ARGS_OF_CALL) ? path.slice(ARGS_OF_CALL.length) : ''
}

/** Row of a function; `*` is any name, with dots too. */
function rowOf(path: string, rows: NonNullable<ArgumentRules['functions']>) {
  const found = Object.entries(rows).find(([pattern]) =>
    pattern.endsWith('*') ? path.startsWith(pattern.slice(0, -1)) : path === pattern,
  )
  return found?.[1]
}

/** Answers by JSON text, made where the objects of the answer have their `toJSON`. */
function answeringText(called: Callable): Callable {
  return async (...args) => JSON.stringify(await called(...args)) ?? 'null'
}

async function inTime(answer: Promise<unknown>, msMax: number): Promise<unknown> {
  if (await resolvesWithin(answer, msMax)) return await answer
  throw new MayflyError('UNAVAILABLE', `The application did not respond within ${msMax} ms`)
}
