import { Decoders } from './decoders.js'
import { Files } from './files.js'
import { OTHER, Output } from './output.js'
import { asText, Refusal, thrown, userFrames, withoutImport } from './failure.js'
import { TYPED, placesOf, transform } from '../typescript/transform.js'

/** Capability behind `fetch`: granted with any network. */
export const FETCH = 'mayfly.fetch'

/**
 * Host-side state of a cell's job: deadline, output, host calls, and end. The first end wins.
 */
export class Job {
  /** @type {Promise<End>} */
  end
  /** JSON text of the names the last CommonJS file exported. */
  names = ''
  #dueAt = Infinity
  #resolve
  #startedAt = performance.now()
  #callBegan = 0
  /** Fetches under way, by the number of their call. @type {Map<number, AbortController>} */
  #stops = new Map()
  #answers = 0
  /** Total bytes of a batch's results so far. */
  #answered = 0
  #isReleased = false
  /** The job returned no value, and ends when no timer or call is pending. */
  isWaiting = false
  /** @type {{ status: string, [more: string]: unknown } | undefined} */
  #outcome
  #timer
  /** @type {Files | undefined} */
  #files
  #isModule
  #refused = new Set()

  /**
   * @param {Task} task
   * @param {Hooks} hooks
   * @param {(text: string) => boolean} isModule
   */
  constructor(task, hooks, isModule) {
    this.#isModule = isModule
    this.task = task
    this.name = nameOf(task)
    this.hooks = hooks
    this.stdout = new Output((text) => hooks.stdout(text), task.outputBytesMax)
    this.stderr = new Output((text) => hooks.stderr(text), task.outputBytesMax)
    this.end = new Promise((resolve) => (this.#resolve = resolve))
  }

  /** Text decoders of user code. */
  decoders = new Decoders()
  /** Source maps of the transformed files, by path. */
  #places = new Map()

  /** Created lazily: only jobs with imports pay for the map. */
  get files() {
    return (this.#files ??= new Files(this.task.files, {
      isModule: this.#isModule,
      toJavaScript: (path, text) => this.toJavaScript(path, text),
      refused: (how, module) => this.reportRefused(how, module),
    }))
  }

  /** Transpiles TypeScript. Throws Refusal with the position of a syntax error. @param {string} path */
  toJavaScript(path, text) {
    const made = transform(text, TYPED.test(path) ? path : `${path}.ts`, this.files.options)
    if ('error' in made) {
      const { message, line, column } = made.error
      const where = `${path}:${line}:${column}`
      throw new Refusal({
        code: 'SYNTAX_ERROR',
        name: 'SyntaxError',
        message: `${message} (${where})`,
        stack: `SyntaxError: ${message}\n    at ${where}`,
      })
    }
    this.#places.set(path, placesOf(made.map))
    return made.code
  }

  /**
   * Reports a name that stands for a power the realm lacks, once. @param {string} name @param {string} [module]
   */
  reportRefused(name, module) {
    const key = `${name} ${module}`
    if (this.#refused.has(key) || this.#refused.size >= REFUSED_MAX) return
    this.#refused.add(key)
    this.hooks.refused?.(name, module)
  }

  /** Output of the realm. @param {'stdout' | 'stderr'} stream @param {string} text */
  print(stream, text) {
    this[OTHER[stream]].giveWay()
    this[stream].add(text)
    if (this[stream].isFlood && !this.isFlooding) {
      this.isFlooding = true
      this.onFlood?.()
    }
  }

  /** True once a stream got far more than it keeps: the job is being ended. */
  isFlooding = false
  /** @type {(() => void) | undefined} */
  onFlood

  /** Names a dynamic import that was refused, and reports it. @param {string} source of what ran, beside the files */
  withoutImport(outcome, source = this.task.code) {
    const texts = this.task.files.filter(({ encoding }) => encoding === 'utf8')
    const told = withoutImport(outcome, [source, ...texts.map(({ content }) => content)])
    if (told.error.code === 'IMPORT_REFUSED') this.reportRefused('import')
    return told
  }

  /** Original position; undefined for an untransformed file; null for generated code. */
  place(file, line, column) {
    const places = this.#places.get(file)
    return places && (places(line, column) ?? null)
  }

  /** Stack frames in the user's files. @param {string} stack */
  frames(stack) {
    return userFrames(stack.slice(0, STACK_UNITS_MAX), this)
  }

  get isOver() {
    return this.#outcome !== undefined
  }

  /** Time 0 of the life: user code starts now. */
  release() {
    try {
      this.hooks.released()
    } catch (error) {
      const message = `Cannot release the job: ${error.message}`
      throw new Refusal({ code: 'OUTPUT_LOST', message }, 'failed')
    }
    this.#isReleased = true
    this.#startedAt = performance.now()
  }

  /** Whole ms since the release, for the job's clocks. */
  elapsed() {
    return Math.floor(performance.now() - this.#startedAt)
  }

  /** Whole ms until the deadline, rounded up, at least 1 to be valid as a timeout. */
  remaining() {
    const left = Math.ceil(this.task.timeoutMs - (performance.now() - this.#startedAt))
    return Math.min(WAIT_MS_MAX, Math.max(1, left))
  }

  get isLate() {
    return performance.now() - this.#startedAt >= this.task.timeoutMs
  }

  /** @param {string} [pending] counts of timers and calls still pending */
  succeed(encoding, text, pending = '') {
    if (Buffer.byteLength(text) > this.task.resultBytesMax) {
      const message = 'Cannot return the result: it takes more bytes than this job may return'
      this.#settle({ status: 'error', error: { code: 'RESULT_TOO_LARGE', message } })
    } else this.#settle({ status: 'ok', encoding, resultText: text, ...dropped(pending) })
  }

  /** Starts the clock of a batch call. */
  begin() {
    this.#callBegan = performance.now()
  }

  /** Records the end of a batch call. All results together are bounded like a single one. */
  answer(answer) {
    if (this.isOver || ++this.#answers > (this.task.calls ?? 0)) return
    this.#answered += Buffer.byteLength(answer.resultText)
    const isTooMuch = this.#answered > this.task.resultBytesMax
    this.flush()
    this.hooks.answered?.({
      executionMs: performance.now() - this.#callBegan,
      ...(isTooMuch ? TOO_MUCH : answer),
    })
  }

  /** Settles the job if no earlier end did. @param {{ status: string, error: object }} outcome */
  refuse(outcome) {
    this.#settle(outcome)
  }

  /** Replaces an earlier end: code that did not stop has not completed, whatever it returned. */
  override(outcome) {
    this.#outcome = outcome
  }

  /** An unhandled rejection ends the job, even if it returned its value in the same turn. */
  stray(error) {
    if (this.#outcome !== undefined && this.#outcome.status !== 'ok') return
    const end = thrown({ code: 'USER_ERROR', ...asText(error) }, this)
    this.override(this.withoutImport(end))
  }

  #settle(outcome) {
    this.#outcome ??= outcome
  }

  /**
   * Answer of a capability, as text. Rejects with error text that user code may see.
   * @param {string} name @param {string} argsText
   * @param {{ id: number, cell?: number }} of number of the call and, in a session, of the calling cell
   */
  async call(name, argsText, { id, cell }) {
    if (!this.task.capabilities.includes(name)) {
      this.hooks.denied?.(name, cell)
      const message = `Cannot call "${name}": this job was not granted that capability`
      throw JSON.stringify({ name: 'Error', code: 'CAPABILITY_DENIED', message })
    }
    const stop = name === FETCH ? new AbortController() : undefined
    if (stop) this.#stops.set(id, stop)
    try {
      return await this.hooks.call(name, argsText, stop?.signal)
    } catch (error) {
      const { name = 'Error', code = 'CAPABILITY_FAILED', message } = error ?? {}
      throw JSON.stringify({ name, code, message: String(message) })
    } finally {
      this.#stops.delete(id)
    }
  }

  /** Ends a fetch whose caller gave it up. @param {number} id */
  forget(id) {
    this.#stops.get(id)?.abort()
  }

  flush() {
    this.stdout.flush()
    this.stderr.flush()
    const lost = this.stdout.lost ?? this.stderr.lost
    if (lost === undefined) return
    const message = `Cannot pass the output on: ${lost.message}`
    this.override({ status: 'failed', error: { code: 'OUTPUT_LOST', message } })
  }

  /** Calls back when the next timer is due, or at the deadline. */
  /** @param {() => void} visit */
  wait(visit) {
    clearTimeout(this.#timer)
    const due = Math.max(0, this.#dueAt - performance.now())
    this.#timer = setTimeout(() => visit(), Math.min(due, this.remaining()))
  }

  /** Arms the realm's next timer in `ms`; negative disarms. */
  arm(ms) {
    this.#dueAt = ms < 0 ? Infinity : performance.now() + ms
  }

  finish(usage) {
    clearTimeout(this.#timer)
    this.#resolve({
      resultText: 'null',
      encoding: 'json',
      ...this.#outcome,
      ...usage,
      executionMs: this.#isReleased ? performance.now() - this.#startedAt : 0,
      truncated: { stdout: this.stdout.isTruncated, stderr: this.stderr.isTruncated },
    })
  }
}

const STACK_UNITS_MAX = 16_384
/** Names and modules reported of a job. */
const REFUSED_MAX = 64
const FILE_NAME = /^[\p{L}\p{N}_ .@+=,-]+(?:\/[\p{L}\p{N}_ .@+=,-]+)*$/u

/** File name of the source in messages. */
function nameOf({ name, typed }) {
  const own = typed ? 'job.ts' : 'job.js'
  return name !== undefined && FILE_NAME.test(name) ? name : own
}

/** Parses the counts of pending timers and promises, if any. @param {string} text */
function dropped(text) {
  const [timers = 0, promises = 0] = /^(\d{1,6}) (\d{1,6})$/.exec(text)?.slice(1).map(Number) ?? []
  return timers + promises > 0 ? { pending: { timers, promises } } : {}
}

const TOO_MUCH = {
  status: 'error',
  encoding: 'json',
  resultText: 'null',
  error: {
    code: 'RESULT_TOO_LARGE',
    message:
      'Cannot return the result: those of the batch take more bytes than this job may return',
  },
}

/** Maximum of Node timers and isolate timeouts. */
const WAIT_MS_MAX = 2 ** 31 - 1

/**
 * @typedef {{
 *   language: 'js' | 'ts', entry: 'body' | 'function' | 'module' | 'handler', code: string, inputText: string,
 *   name?: string, typed?: boolean, files: { path: string, content: string, encoding: 'utf8' | 'base64', erased?: boolean }[],
 *   capabilities: string[], functions?: string[],
 *   timeoutMs: number, outputBytesMax: number, resultBytesMax: number, calls?: number, trace?: boolean,
 * }} Task `calls`: for a batch, the number of inputs in `inputText`
 *
 * @typedef {{
 *   status: 'ok' | 'error', resultText: string, encoding: 'json' | 'tagged', executionMs: number,
 *   error?: { code: string, name?: string, message: string, stack?: string },
 * }} Answer to one call of a batch
 *
 * @typedef {{
 *   released(): void, stdout(text: string): void, stderr(text: string): void,
 *   call(name: string, argsText: string, stop?: AbortSignal): Promise<string>,
 *   answered?(answer: Answer): void,
 *   denied?(name: string, cell?: number): void,
 *   refused?(name: string, module?: string): void,
 * }} Hooks `stdout` and `stderr` may block: that is the back-pressure. Chunks are under 64 KiB
 *
 * @typedef {{
 *   status: 'ok' | 'error' | 'timeout' | 'limit' | 'failed', resultText: string, encoding: 'json' | 'tagged',
 *   error?: { code: string, name?: string, message: string, stack?: string },
 *   cpuTimeMs: number, memory: { used: number, peak: number }, executionMs: number,
 *   truncated: { stdout: boolean, stderr: boolean }, poisoned: boolean, pending?: { timers: number, promises: number },
 *   ran?: [start: number, end: number, calls: number][],
 * }} End `poisoned`: the process must be discarded
 */
