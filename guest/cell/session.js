import { placesOf, transform } from '../typescript/transform.js'
import {
  asText,
  endOf,
  hasImportCall,
  importRefused,
  mayImport,
  Refusal,
  syntaxError,
  thrownError,
} from './failure.js'
import { codeAlone } from './files.js'
import { Job } from './job.js'
import { OTHER, Output } from './output.js'
import { scriptOf } from './source.js'

/** Grace added to an exec's timeout here, so that the server's own timer ends it first. */
const LATE_MS = 25
/** Time limit of a callback (timer or reply) of an earlier cell. */
const TURN_MS_MAX = 1000
/** Maximum pause of earlier cells before an exec, in case the exec never arrives. */
const PAUSE_MS_MAX = 1000
/** Source maps are kept for this many cells, the newest. */
const POSITION_MAPS_MAX = 500
/** Owner of code that runs for no cell. */
const NOBODY = 0
/** Prints refused of an exec beyond its limit, by which its code is known not to stop. */
const REFUSED_PRINTS_MAX = 1000
const FLOODED = {
  status: 'limit',
  error: {
    code: 'OUTPUT',
    message: 'The session was ended at its OUTPUT limit: its exec did not stop',
  },
}
const INTERRUPTED = { code: 'INTERRUPTED', message: 'The exec was interrupted' }
const ENDED_TURN = `Ended a callback: it ran longer than ${TURN_MS_MAX} ms\n`
const CUT_TURN = 'Ended a callback: it ran until the timeout of a later exec\n'
const IMPORTS_MAX = 1000
/** Execs between two checks of the heap, and the growth that triggers a collection: V8 alone collects only near the limit. */
const HEAP_CHECK_EVERY = 100
const GROWTH_BYTES = 4 * 2 ** 20
const STREAMS = /** @type {const} */ (['stdout', 'stderr'])
/** Stack frame of the script's evaluation, which follows the frames of the cell, in the stack of a cause too. */
const CALL_OF_SCRIPT = /\n +at eval \(<anonymous>\)(?=\n +\[|$)/g
const OF_SCRIPT = /^(\s+at (?:async )?)eval \((.*)\)$/gm

/**
 * Session of one isolate: cells run one after another in one realm, and their timers and calls live on.
 *
 * Problem: all cells share the realm, and code of an earlier cell may print, settle promises and make calls while a later
 * cell runs.
 *
 * Mechanism: each entry into the realm (a turn) has an owner: the cell whose script, timer or reply it runs. Output of a turn
 * goes to its owner's exec while that runs, otherwise to the output between execs. Results from any cell but the running one
 * are dropped. The id of an exec, its time and its end are known to the host only; each turn has a V8 timeout. An exec that
 * prints far beyond its limit has ended, and each print throws; if its code catches that and prints on, the isolate is
 * disposed, because V8 has no other way to stop it from within a host call.
 *
 * Relies on the realm for the owner of a timer. Not handled: if one cell settles a promise of another, the continuation runs
 * with the settling cell as owner.
 */
export class CellSession extends Job {
  #inside
  #hooks
  #sequence = 0
  #owner = NOBODY
  /** Owner of the timer that is due. */
  #ticking = NOBODY
  /** @type {Exec | undefined} */
  #exec
  #betweenExecs
  /** Output of earlier cells while an exec runs. @type {[stream: 'stdout' | 'stderr', text: string][]} */
  #heldOutput = []
  /** @type {Map<string, (line: number, column: number) => { line: number, column: number } | undefined>} */
  #positionMaps = new Map()
  #dueAt = Infinity
  /** Timeout of the current turn in milliseconds. */
  #turnMs
  /** @type {{ id: number, specifier: string, owner: number }[]} */
  #imports = []
  /** Turns queued while earlier cells are paused; undefined if they are not. @type {(() => void)[] | undefined} */
  #queuedTurns
  /** @type {NodeJS.Timeout | undefined} */
  #pauseTimer
  /** @type {(() => void) | undefined} */
  #collect
  #usedBefore = 0
  /** Number of calls in progress. */
  #calls = 0
  /** @type {NodeJS.Timeout | undefined} */
  #timer
  /** Newest source that has an `import()`: a later cell may call it. */
  #importing = ''
  #isOver = false
  #isFlooding = false

  /** @param {import('./job.js').Task} task @param {SessionHooks} hooks @param {Inside} inside */
  constructor(task, hooks, inside) {
    super({ ...task, entry: 'session' }, hooks, inside.isModule)
    this.#inside = inside
    this.#hooks = hooks
    this.#betweenExecs = this.#newStreams()
    this.#turnMs = task.timeoutMs
  }

  /** Prepares the realm; called before any code of the session. */
  open() {
    this.#inside.enter(['open'], this.remaining())
  }

  /** Runs a cell; reports its end by the hook `ended`. @param {ExecAsked} asked */
  exec(asked) {
    if (this.#exec || this.#isOver) throw new Error('Cannot run a cell: another runs')
    const exec = new Exec(asked, ++this.#sequence, this.task.language, this.#hooks)
    this.#exec = exec
    if (hasImportCall(exec.code)) this.#importing = exec.code
    if (mayImport(exec.code)) this.#inside.enter(['watchImports'], this.remaining())
    const queued = this.#queuedTurns
    // Compared by identity: a pause that starts before this immediate runs belongs to the next exec.
    if (queued) setImmediate(() => this.#queuedTurns === queued && this.#resume())
    exec.timer = setTimeout(() => this.interrupt(exec.id), asked.timeoutMs + LATE_MS)
    let script
    try {
      script = this.#scriptOf(exec)
    } catch (error) {
      exec.end = { error: refusalOf(error) }
      return this.#settle()
    }
    const { sequence, resultBytesMax, inputText } = exec
    if (inputText !== undefined) this.#enter(sequence, 'give', sequence, inputText)
    if (this.#isRunning(sequence))
      this.#enter(sequence, 'cell', sequence, script, exec.isAsync, resultBytesMax)
  }

  /** Pauses all callbacks until the next exec, so that earlier output is not attributed to that exec. */
  rest() {
    if (this.#queuedTurns || this.#exec) return
    this.flush()
    this.#queuedTurns = []
    this.#pauseTimer = setTimeout(() => this.#resume(), PAUSE_MS_MAX)
  }

  #resume() {
    clearTimeout(this.#pauseTimer)
    const turns = this.#queuedTurns ?? []
    this.#queuedTurns = undefined
    for (const turn of turns) turn()
    this.#wait()
  }

  /** Ends the exec with INTERRUPTED, if it is the running one. @param {string} id */
  interrupt(id) {
    if (this.#exec?.id !== id) return
    this.#exec.end = { error: INTERRUPTED }
    this.#settle()
  }

  /** @param {number} sequence */
  #isRunning(sequence) {
    return this.#exec?.sequence === sequence && !this.#exec.end && !this.#isOver
  }

  /** @param {Exec} exec */
  #scriptOf(exec) {
    const { code, cell, isTyped, name } = exec
    const script = scriptOf(code, cell)
    let { place } = script
    let text = script.code
    if (isTyped) {
      const made = transform(text, 'cell.ts', this.files.options)
      if ('error' in made) throw typeError(made.error, name, place)
      const places = placesOf(made.map)
      const inner = place
      text = made.code.replace(NAMESPACE, 'var $1;')
      place = (line, column) => {
        const at = places(line, column)
        return at && inner ? inner(at.line, at.column) : at
      }
    }
    if (place) this.#positionMaps.set(name, place)
    for (const oldest of this.#positionMaps.keys())
      if (this.#positionMaps.size > POSITION_MAPS_MAX) this.#positionMaps.delete(oldest)
    exec.script = text
    return `${text}\n//# sourceURL=${name}`
  }

  /** @param {number} owner @param {unknown[]} args */
  #enter(owner, ...args) {
    this.#turn(owner, (timeout) => this.#inside.enter(args, timeout))
  }

  /** Enters the realm once, on behalf of a cell. @param {number} owner @param {(timeout: number) => void} enter */
  #turn(owner, enter) {
    if (this.#isOver) return
    const exec = this.#exec
    const isOwn = exec?.sequence === owner
    const left = exec ? exec.remaining() : TURN_MS_MAX
    const timeout = isOwn ? left : Math.min(left, TURN_MS_MAX)
    const began = performance.now()
    this.#owner = owner
    this.#turnMs = timeout
    try {
      enter(timeout)
    } catch (error) {
      this.#judge(error, isOwn, performance.now() - began >= timeout - 1)
    }
    this.#owner = NOBODY
    this.flush()
    this.#settle()
    this.#wait()
    if (this.#imports.length > 0) setImmediate(() => this.#importNext())
  }

  /** @param {unknown} error @param {boolean} isOwn @param {boolean} isLate */
  #judge(error, isOwn, isLate) {
    if (this.#isFlooding) return this.#die(FLOODED)
    const end = endOf(error, { isLate, isDisposed: this.#inside.isDisposed() })
    if (end && end.status !== 'timeout') return this.#die(end)
    if (!end) this.stray(error)
    else if (isOwn && this.#exec) this.#exec.end = { error: INTERRUPTED }
    else this.#add('stderr', this.#turnMs < TURN_MS_MAX ? CUT_TURN : ENDED_TURN)
  }

  /** Ends the session: the isolate was disposed or is out of memory. */
  #die(end) {
    if (this.#isOver) return
    this.#isOver = true
    clearTimeout(this.#timer)
    clearTimeout(this.#exec?.timer)
    clearTimeout(this.#pauseTimer)
    this.flush()
    this.#hooks.over(end)
  }

  #settle() {
    const exec = this.#exec
    if (!exec?.end || this.#isOver) return
    clearTimeout(exec.timer)
    this.#exec = undefined
    exec.flush()
    const held = this.#heldOutput.splice(0)
    const pending =
      held.length > 0 || this.#dueAt < Infinity || this.#calls > 0 || this.#imports.length > 0
    this.#hooks.ended({ ...exec.report(), ...(pending && { pending }) })
    for (const [stream, text] of held) this.#hooks[stream](text)
    this.#betweenExecs = this.#newStreams()
    if (exec.isInterrupted) this.#enter(NOBODY, 'drop', exec.sequence)
    if (exec.sequence % HEAP_CHECK_EVERY === 0) setImmediate(() => this.#tidy())
  }

  /** Bytes that the heap of the isolate uses. */
  get usedBytes() {
    return this.#inside.usedBytes()
  }

  /** Collects garbage: the scripts of finished cells take a kilobyte or more each. */
  #tidy() {
    if (this.#isOver || this.#exec || this.usedBytes < this.#usedBefore + GROWTH_BYTES) return
    try {
      this.#collect ??= this.#inside.takeGc()
      this.#collect()
    } catch {
      // No memory left for a context: the next cell will exceed the limit.
    }
    this.#usedBefore = this.usedBytes
  }

  /** Streams for output between two execs, with the output limit of one exec. */
  #newStreams() {
    const { outputBytesMax } = this.task
    const outputOf = (/** @type {'stdout' | 'stderr'} */ stream) =>
      new Output((text) => this.#pass(stream, text), outputBytesMax)
    return { stdout: outputOf('stdout'), stderr: outputOf('stderr') }
  }

  /** @param {'stdout' | 'stderr'} stream @param {string} text */
  #pass(stream, text) {
    if (this.#exec) this.#heldOutput.push([stream, text])
    else this.#hooks[stream](text)
  }

  #wait() {
    clearTimeout(this.#timer)
    if (this.#dueAt === Infinity || this.#isOver || this.#queuedTurns) return
    const due = Math.max(0, this.#dueAt - performance.now())
    this.#timer = setTimeout(() => this.#tick(), due)
  }

  /** Runs the timer that is due, on behalf of the cell that set it. */
  #tick() {
    if (this.#queuedTurns) return
    this.#ticking = NOBODY
    this.#enter(NOBODY, 'next')
    if (this.#ticking !== NOBODY) this.#enter(this.#ticking, 'tick')
  }

  #importNext() {
    if (this.#queuedTurns) return this.#queuedTurns.push(() => this.#importNext())
    const { id, specifier, owner } = this.#imports.shift() ?? {
      id: 0,
      specifier: '',
      owner: NOBODY,
    }
    if (id === 0) return
    this.#turn(owner, (timeout) => {
      const began = performance.now()
      try {
        // The specifier may have been computed at run time, so its file must be one that the analysis has read.
        const path = codeAlone(this.files.resolve('', specifier, 'import'))
        if (path === undefined) throw new Refusal(importRefused(specifier, 'a cell'))
        this.#inside.load(path, id, timeout)
      } catch (error) {
        const isLate = performance.now() - began >= timeout - 1
        const end = endOf(error, { isLate, isDisposed: this.#inside.isDisposed() })
        if (end && end.status !== 'error') throw error
        this.#inside.enter(['unloaded', id, JSON.stringify(end?.error ?? asText(error))], timeout)
      }
    })
  }

  // Host calls, made by the realm

  /** @param {number} sequence */
  owned(sequence) {
    if (Number.isInteger(sequence) && sequence <= this.#sequence) this.#ticking = sequence
  }

  /** Queues a cell's dynamic import; it runs after the current turn. @param {number} id @param {string} specifier */
  import(id, specifier) {
    if (this.#imports.length >= IMPORTS_MAX) throw new RangeError('Too many imports wait')
    this.#imports.push({ id, specifier, owner: this.#owner })
  }

  /** @param {number} sequence @param {string} encoding @param {string} text @param {boolean} [isPartial] */
  done(sequence, encoding, text, isPartial) {
    if (this.#isRunning(sequence)) this.#exec?.succeed(encoding, text, isPartial)
  }

  /** @param {number} sequence @param {{ code: string, message: string, name?: string, stack?: string }} error */
  failed(sequence, error) {
    const exec = this.#exec
    if (!exec || !this.#isRunning(sequence)) return
    exec.end = { error: this.#notCompiled(exec, error) ?? this.#own(error) }
  }

  /** An array buffer that does not fit is an error of its cell: the session, unlike a job, goes on. */
  #own(error) {
    const own = { error: thrownError(error, this) }
    const described = this.withoutImport(own, this.#importing).error
    return described.stack ? { ...described, stack: ofCells(described.stack) } : described
  }

  /** Syntax error with its position, which the realm's error object lacks; undefined for other errors. */
  #notCompiled(exec, { name, stack = '' }) {
    if (name !== 'SyntaxError' || stack.includes(`${exec.name}:`)) return undefined
    const problem = this.#inside.compile(exec.script, exec.name)
    if (!problem) return undefined
    const error = syntaxError(problem, exec.script, exec.name)
    const mapped = (/** @type {string} */ text) =>
      text.replace(/:(\d+):(\d+)(?=\)?$)/m, (all, line, column) => {
        const at = this.place(exec.name, Number(line), Number(column))
        return at ? `:${at.line}:${at.column}` : all
      })
    return { ...error, message: mapped(error.message), stack: mapped(error.stack) }
  }

  /** Throws for code that has to stop printing. @param {'stdout' | 'stderr'} stream @param {string} text */
  print(stream, text) {
    const exec = this.#ownExec
    if (!exec?.isFlooded && (!this.#add(stream, text).isFlood || !exec)) return
    exec.isFlooded = true
    exec.end = { error: INTERRUPTED, flooded: true }
    if (++exec.refusedPrints > REFUSED_PRINTS_MAX) {
      this.#isFlooding = true
      this.#inside.dispose()
    }
    throw new RangeError(FLOODED.error.message)
  }

  /** The running exec, if the current turn is its own. */
  get #ownExec() {
    return this.#owner === this.#exec?.sequence ? this.#exec : undefined
  }

  /** @param {'stdout' | 'stderr'} stream @param {string} text */
  #add(stream, text) {
    const streams = this.#ownExec ?? this.#betweenExecs
    streams[OTHER[stream]].giveWay()
    streams[stream].add(text)
    return streams[stream]
  }

  flush() {
    this.#exec?.flush()
    for (const stream of STREAMS) this.#betweenExecs[stream].flush()
  }

  /** Prints an unhandled rejection, but not that of a refused print; the cell continues. @param {unknown} error */
  stray(error) {
    if (this.#ownExec?.isFlooded) return
    const { name, message, stack } = this.withoutImport(
      { error: asText(error) },
      this.#importing,
    ).error
    const text = stack ? this.frames(stack) : name ? `${name}: ${message}` : message
    this.#add('stderr', `Uncaught (in promise) ${text}\n`)
  }

  remaining() {
    return this.#turnMs
  }

  /** @param {number} ms */
  arm(ms) {
    this.#dueAt = ms < 0 ? Infinity : performance.now() + ms
  }

  place(file, line, column) {
    const place = this.#positionMaps.get(file)
    return place ? (place(line, column) ?? null) : super.place(file, line, column)
  }

  frames(stack) {
    return ofCells(super.frames(stack))
  }

  /** Starts a capability call; the reply runs on behalf of the calling cell. */
  callOut(id, name, argsText) {
    const owner = this.#owner
    this.flush()
    const reply = (isOk, text) => {
      if (this.#queuedTurns) return this.#queuedTurns.push(() => reply(isOk, text))
      this.#calls--
      this.#enter(owner, 'reply', id, isOk, text, owner)
    }
    this.#calls++
    this.call(String(name), String(argsText), { id, cell: owner }).then(
      (text) => reply(true, text),
      (error) => reply(false, error),
    )
  }
}

/** Removes the evaluation from stack frames of cells: `eval (FILE)` becomes `FILE`. @param {string} stack */
function ofCells(stack) {
  return stack.replace(CALL_OF_SCRIPT, '').replace(OF_SCRIPT, '$1$2')
}

/** The transformer's `let` declaration of a TypeScript namespace. */
const NAMESPACE = /^let ([\w$]+);(?=\n\(function\()/gm

/** State of the running exec. */
class Exec {
  /** @type {{ encoding?: string, text?: string, partial?: true, error?: object, flooded?: true } | undefined} */
  end
  /** True once it printed far beyond its limit: it has ended, and all it still prints is refused. */
  isFlooded = false
  refusedPrints = 0
  /** @type {NodeJS.Timeout | undefined} */
  timer
  script = ''
  #began = performance.now()
  #cpu = process.cpuUsage()

  /** @param {ExecAsked} asked @param {number} sequence @param {string} language @param {SessionHooks} hooks */
  constructor(asked, sequence, language, hooks) {
    const { id, code = '', cell, typed = false, inputText, timeoutMs } = asked
    const { outputBytesMax } = asked
    this.id = id
    this.sequence = sequence
    this.name = `cell-${sequence}.${language}`
    this.code = code
    this.cell = cell
    this.isAsync = cell?.awaits === true
    this.isTyped = typed
    this.inputText = inputText
    this.timeoutMs = timeoutMs
    this.resultBytesMax = asked.resultBytesMax
    this.stdout = new Output((text) => hooks.stdout(text), outputBytesMax)
    this.stderr = new Output((text) => hooks.stderr(text), outputBytesMax)
  }

  /** Whole ms until its deadline, at least 1. */
  remaining() {
    const left = this.timeoutMs + LATE_MS - (performance.now() - this.#began)
    return Math.min(2 ** 31 - 1, Math.max(1, Math.ceil(left)))
  }

  get isInterrupted() {
    return this.end?.error?.code === INTERRUPTED.code
  }

  /** @param {string} encoding @param {string} text @param {boolean} [isPartial] */
  succeed(encoding, text, isPartial) {
    if (Buffer.byteLength(text) <= this.resultBytesMax)
      this.end = { encoding, text, ...(isPartial === true && { partial: true }) }
    else {
      const message = 'Cannot return the result: it takes more bytes than this exec may return'
      this.end = { error: { code: 'RESULT_TOO_LARGE', message } }
    }
  }

  flush() {
    this.stdout.flush()
    this.stderr.flush()
    const lost = this.stdout.lost ?? this.stderr.lost
    if (lost && this.end)
      this.end = {
        error: { code: 'OUTPUT_LOST', message: `Cannot pass the output on: ${lost.message}` },
      }
  }

  report() {
    const { encoding = 'json', text = 'null', partial, error, flooded } = this.end ?? {}
    const { user, system } = process.cpuUsage(this.#cpu)
    const head = { id: this.id, status: error ? 'error' : 'ok', encoding, state: 'kept', error }
    const cost = { cpuTimeMs: (user + system) / 1000, executionMs: performance.now() - this.#began }
    return { ...head, ...cost, ...(flooded && { flooded }), ...(partial && { partial }), text }
  }
}

/** Error of a cell whose script could not be built. @param {unknown} error */
function refusalOf(error) {
  if (error instanceof Refusal) return error.error
  return { code: 'FAILED', message: /** @type {Error} */ (error).message }
}

function typeError({ message, line, column }, name, place) {
  const at = place?.(line, column) ?? { line, column }
  const where = `${name}:${at.line}:${at.column}`
  const error = { code: 'SYNTAX_ERROR', name: 'SyntaxError', message: `${message} (${where})` }
  return new Refusal({ ...error, stack: `SyntaxError: ${message}\n    at ${where}` })
}

/**
 * @typedef {{
 *   id: string, code?: string, cell?: import('./source.js').Plan, typed?: boolean, inputText?: string, timeoutMs: number,
 *   outputBytesMax: number, resultBytesMax: number,
 * }} ExecAsked
 *
 * @typedef {import('./job.js').Hooks & {
 *   ended(report: Record<string, unknown> & { text: string }): void,
 *   over(end: { status: string, error?: object }): void,
 * }} SessionHooks `over`: the isolate was disposed
 *
 * @typedef {{
 *   enter(args: unknown[], timeout: number): void, isModule(text: string): boolean, isDisposed(): boolean, dispose(): void,
 *   compile(code: string, name: string): Error | undefined, usedBytes(): number, takeGc(): () => void,
 * }} Inside
 */
