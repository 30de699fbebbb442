import type { CallEnd } from '../contract/outcome.ts'
import type { OutcomeError } from '../contract/outcome-error.ts'
import type { CallAnswer, TaskEnd } from '../contract/provider.ts'
import { boundError, withResultBound } from './error.ts'
import { mismatch, readResult } from './result.ts'
import type { SchemaValidator } from './schema.ts'

/**
 * Output contract of a batch: each result is parsed and checked against the schema separately, so a bad one is refused
 * alone; all results together are limited to the size of one.
 */
export class BatchResults {
  readonly #calls: number
  readonly #check: SchemaValidator | undefined
  readonly #taken: CallEnd[] = []
  readonly #bytesMax: number
  #room: number
  #errorRoom = ERROR_UNITS

  constructor(calls: number, bytesMax: number, check: SchemaValidator | undefined) {
    this.#calls = calls
    this.#bytesMax = bytesMax
    this.#room = bytesMax
    this.#check = check
  }

  /** Records the end of the next call; surplus answers are ignored. */
  take(answer: CallAnswer): void {
    if (this.#taken.length >= this.#calls) return
    this.#taken.push(this.#judge(answer))
  }

  /** Fails a wall that reports success without answering every call. */
  whole(end: TaskEnd): TaskEnd {
    if (end.status !== 'ok' || this.#taken.length === this.#calls) return end
    const message = `The wall answered ${this.#taken.length} of ${this.#calls} calls`
    return { ...end, status: 'failed', error: { code: 'WALL_LOST', message } }
  }

  /** Ends of all calls: the call in progress gets the end of the job, later ones are `skipped`. */
  close(end: TaskEnd): readonly CallEnd[] {
    const missing = this.#calls - this.#taken.length
    if (missing === 0) return this.#taken
    // A job that fails before its calls end was never ready to be called.
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

  /** Bounds errors in sum: a thousand stacks would exceed any result limit. */
  #bounded(thrown: OutcomeError | undefined): OutcomeError {
    const own = boundError({ status: 'error', ...(thrown && { error: thrown }) })
    const error = withResultBound(own, this.#bytesMax)
    this.#errorRoom -= JSON.stringify(error).length
    if (this.#errorRoom >= 0) return error
    return { code: error.code, message: error.message.slice(0, MESSAGE_UNITS).toWellFormed() }
  }
}

/** Error text of a batch in total, in UTF-16 units; beyond it, each error is its code and one line. */
const ERROR_UNITS = 256 * 1024
const MESSAGE_UNITS = 200

const nothing = { result: null, encoding: 'json', executionTime: 0 } as const
const skipped: CallEnd = {
  ...nothing,
  status: 'skipped',
  error: { code: 'SKIPPED', message: 'The job ended before this call began' },
}
