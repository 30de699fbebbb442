import type { CallEnd, OutcomeError } from '../contract/outcome.ts'
import type { CallAnswer, TaskEnd } from '../contract/provider.ts'
import { boundError } from './error.ts'
import { mismatch, readResult } from './result.ts'
import type { Check } from './schema.ts'

/**
 * The contract on the results of a batch: each is read, and held against the schema, by itself, so that one that
 * breaks it is refused alone; all of them together take no more bytes than one result may.
 */
export class Answers {
  readonly #calls: number
  readonly #check: Check | undefined
  readonly #taken: CallEnd[] = []
  #room: number
  #errorRoom = ERROR_UNITS

  constructor(calls: number, bytesMax: number, check: Check | undefined) {
    this.#calls = calls
    this.#room = bytesMax
    this.#check = check
  }

  /** The next call has ended; more than there are calls are not listened to. */
  take(answer: CallAnswer): void {
    if (this.#taken.length >= this.#calls) return
    this.#taken.push(this.#judge(answer))
  }

  /** A wall that says it is done and has not answered every call is broken. */
  whole(end: TaskEnd): TaskEnd {
    if (end.status !== 'ok' || this.#taken.length === this.#calls) return end
    const message = `The wall answered ${this.#taken.length} of ${this.#calls} calls`
    return { ...end, status: 'failed', error: { code: 'WALL_LOST', message } }
  }

  /** How each call ended: what ended the job ended the call that was under way, and the rest never began. */
  close(end: TaskEnd): readonly CallEnd[] {
    const missing = this.#calls - this.#taken.length
    if (missing === 0) return this.#taken
    // A job that ends in error before its calls do was never ready to be called.
    const isCut = end.status !== 'error' && end.status !== 'ok'
    const cut: CallEnd = { ...nothing, status: end.status, error: boundError(end) }
    const rest = Array.from({ length: isCut ? missing - 1 : missing }, () => skipped)
    return [...this.#taken, ...(isCut ? [cut] : []), ...rest]
  }

  #judge({ status, resultText, encoding, error, executionTime }: CallAnswer): CallEnd {
    if (status === 'error')
      return { ...nothing, status, error: this.#bounded(error), executionTime }
    const read = readResult(resultText, encoding, this.#room)
    const why = read.kind === 'refused' ? read.error : mismatch(this.#check?.(read.value))
    if (read.kind === 'refused' || why)
      return { ...nothing, status: 'refused', error: why!, executionTime }
    this.#room -= Buffer.byteLength(resultText)
    return { status, result: read.value, encoding, executionTime }
  }

  /** A thousand errors with their stacks would be more than any result may be. */
  #bounded(thrown: OutcomeError | undefined): OutcomeError {
    const error = boundError({ status: 'error', ...(thrown && { error: thrown }) })
    this.#errorRoom -= JSON.stringify(error).length
    if (this.#errorRoom >= 0) return error
    return { code: error.code, message: error.message.slice(0, MESSAGE_UNITS).toWellFormed() }
  }
}

/** Text of the errors of a batch together, in UTF-16 units; each behind that is its code and a line. */
const ERROR_UNITS = 256 * 1024
const MESSAGE_UNITS = 200

const nothing = { result: null, encoding: 'json', executionTime: 0 } as const
const skipped: CallEnd = {
  ...nothing,
  status: 'skipped',
  error: { code: 'SKIPPED', message: 'The job ended before this call began' },
}
