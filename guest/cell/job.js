import { Output } from './output.js'
import { endOf } from './failure.js'

/**
 * The one job of a cell, as the host sees it: its deadline, its output, what its realm asks for, and
 * its end. The first end wins.
 */
export class Job {
  /** @type {Promise<import('../cell.js').End>} */
  end
  /** When the realm wants its next timer, in ms from now; -1 for never. */
  armed = -1
  #resolve
  #startedAt = performance.now()
  /** @type {{ status: string, [more: string]: unknown } | undefined} */
  #outcome
  #timer

  /** @param {import('../cell.js').Task} task @param {import('../cell.js').Hooks} hooks */
  constructor(task, hooks) {
    this.task = task
    this.hooks = hooks
    this.stdout = new Output((text) => hooks.stdout(text), task.outputBytesMax)
    this.stderr = new Output((text) => hooks.stderr(text), task.outputBytesMax)
    this.end = new Promise((resolve) => (this.#resolve = resolve))
  }

  get isOver() {
    return this.#outcome !== undefined
  }

  /** Whole ms since the job was released: what its clocks show. */
  elapsed() {
    return Math.floor(performance.now() - this.#startedAt)
  }

  /** Whole ms until its deadline, rounded up, at least 1 so that it can be a timeout. */
  remaining() {
    return Math.max(1, Math.ceil(this.task.timeoutMs - (performance.now() - this.#startedAt)))
  }

  get isLate() {
    return performance.now() - this.#startedAt >= this.task.timeoutMs
  }

  succeed(encoding, text) {
    if (Buffer.byteLength(text) > this.task.resultBytesMax) {
      const message = 'Cannot return the result: it takes more bytes than this job may return'
      this.#settle({ status: 'error', error: { code: 'RESULT_TOO_LARGE', message } })
    } else this.#settle({ status: 'ok', encoding, resultText: text })
  }

  /** @param {{ status: string, error: object }} outcome */
  refuse(outcome) {
    this.#settle(outcome)
  }

  /** An error that came out of the isolate itself. Code that would not stop was not done, whatever it said. */
  interrupt(error) {
    const outcome = endOf(error)
    if (outcome.status === 'error') this.#settle(outcome)
    else this.#outcome = outcome
  }

  #settle(outcome) {
    this.#outcome ??= outcome
  }

  /** A capability's answer as text. Rejects with the text of an error that user code may see. */
  async call(name, argsText) {
    if (!this.task.capabilities.includes(name)) {
      const message = `Cannot call "${name}": this job was not granted that capability`
      throw JSON.stringify({ name: 'Error', code: 'CAPABILITY_DENIED', message })
    }
    try {
      return await this.hooks.call(name, argsText)
    } catch (error) {
      const { name = 'Error', code = 'CAPABILITY_FAILED', message } = error ?? {}
      throw JSON.stringify({ name, code, message: String(message) })
    }
  }

  flush() {
    this.stdout.flush()
    this.stderr.flush()
  }

  /** Comes back when the next timer is due or the deadline is reached, whichever is first. */
  /** @param {() => void} visit */
  wait(visit) {
    clearTimeout(this.#timer)
    const due = this.armed < 0 ? Infinity : this.armed
    this.#timer = setTimeout(() => visit(), Math.min(due, this.remaining()))
  }

  finish(usage) {
    clearTimeout(this.#timer)
    this.#resolve({
      resultText: 'null',
      encoding: 'json',
      ...this.#outcome,
      ...usage,
      executionMs: performance.now() - this.#startedAt,
      truncated: { stdout: this.stdout.isTruncated, stderr: this.stderr.isTruncated },
    })
  }
}
