import ivm from 'isolated-vm'
import { Job } from './cell/job.js'
import { answer } from './cell/answers.js'
import { asText, endOf, Refusal, syntaxError, thrown, TIMED_OUT } from './cell/failure.js'
import { Modules } from './cell/modules.js'
import { CellSession } from './cell/session.js'
import { cacheParts, findParts, readParts, runPart } from './cell/parts.js'
import { REHEARSAL } from './cell/rehearsal.js'
import { Trace } from './cell/trace.js'
import { takeGcOf } from './take-gc.js'
import { assertClosed, COMMONJS, MODULE_ONLY, WRAPPERS } from './cell/wrap.js'

/**
 * A fresh isolate with its realm, created ahead of time and used for exactly one job. It bounds well-behaved
 * code; a hostile program that breaks those bounds is contained by the process, which is killed from outside
 * when it does not answer.
 *
 * Calls into the isolate are synchronous on purpose: the process has no other work, and a thread hop costs more
 * than a small job. The event loop is needed between turns only. Relies on isolated-vm for separation inside
 * V8, and on the jail if V8 itself is broken. Not handled: side channels between tenants, hence one tenant a
 * process.
 */
export class Cell {
  #isolate
  #context
  /** Entry point of the realm, never visible to user code. */
  #realm
  #memoryBytes
  #poisoned = false
  #cpuTimeMsBefore = 0
  /** @type {NodeJS.CpuUsage | undefined} */
  #cpuBefore
  /** Heap of a cell that was disposed because its job printed too much. */
  #last
  /** @type {Job | undefined} */
  #job
  /** @type {Modules | undefined} */
  #modules
  /** @type {Trace | undefined} */
  #trace

  /** @param {{ memoryMiB: number, webAssembly: boolean, isTraced?: boolean }} options */
  constructor({ memoryMiB, webAssembly, isTraced = false }) {
    this.#memoryBytes = memoryMiB * 2 ** 20
    this.#isolate = new ivm.Isolate({
      memoryLimit: memoryMiB,
      onCatastrophicError: () => (this.#poisoned = true),
    })
    this.#context = this.#isolate.createContextSync()
    const boot = runPart(this.#isolate, this.#context, 'boot')
    const host = (op, a, b, c) => this.#answer(op, a, b, c)
    this.#realm = boot.applySync(undefined, [host, webAssembly], { result: { reference: true } })
    if (isTraced) this.#trace = new Trace(this.#isolate)
  }

  /**
   * Runs the job to its end; called once. Never rejects for errors of user code.
   * @param {Task} task
   * @param {Hooks} hooks
   * @returns {Promise<End>}
   */
  run(task, hooks) {
    if (this.#job !== undefined) throw new Error('Cannot run a job: this cell was used before')
    const job = (this.#job = new Job(task, hooks, (text) => this.#isModule(text)))
    job.onFlood = () => this.#stop()
    this.#cpuTimeMsBefore = Number(this.#isolate.cpuTime) / 1e6
    this.#cpuBefore = process.cpuUsage()
    this.#visit(job, () => this.#start(job))
    return job.end
  }

  /**
   * Opens a session instead, which takes one cell after another; called once.
   * @param {Task} task @param {import('./cell/session.js').SessionHooks} hooks
   */
  open(task, hooks) {
    if (this.#job !== undefined) throw new Error('Cannot open a session: this cell was used before')
    const load = (path, id, timeout) => this.#load(path, id, timeout)
    const session = new CellSession(task, hooks, {
      load,
      enter: (args, timeout) => this.#realm.applySync(undefined, args, { timeout }),
      isModule: (text) => this.#isModule(text),
      isDisposed: () => this.#isolate.isDisposed,
      dispose: () => this.dispose(),
      compile: (code, filename) => this.#problemOf(code, filename),
      usedBytes: () => this.#heap()?.used ?? 0,
      takeGc: () => takeGcOf(this.#isolate),
    })
    this.#job = session
    if (task.files.length > 0) this.#openModules(session)
    session.open()
    return session
  }

  /** Idempotent; never throws. */
  dispose() {
    try {
      this.#isolate.dispose()
    } catch {
      // Disposed already, after running out of memory.
    }
  }

  /** Enters the isolate once; the result is an end, or a wait for a timer, a reply or the deadline. */
  #visit(job, enter) {
    try {
      if (job.isLate) throw new Error(TIMED_OUT)
      enter()
      if (job.isWaiting && !job.isOver) this.#enter(job, 'idle')
    } catch (error) {
      this.#judge(job, error)
    }
    job.flush()
    if (job.isOver) job.finish({ ...this.#usage(), ...this.#traced(), poisoned: this.#poisoned })
    else job.wait(() => this.#visit(job, () => this.#enter(job, 'tick')))
  }

  /** Ends user code, on its return from this host call. */
  #stop() {
    this.#last = this.#heap()
    this.dispose()
  }

  #judge(job, error) {
    if (job.isFlooding) return job.override(FLOODED)
    const end = endOf(error, { isLate: job.isLate, isDisposed: this.#isolate.isDisposed })
    if (end !== undefined && end.status !== 'error') job.override(end)
    else if (job.isOver) job.stray(error)
    else if (end !== undefined) job.refuse(end)
    else if (this.#modules === undefined) job.stray(error)
    else this.#judgeModule(job, error)
  }

  /** A module's own failure looks like an unhandled rejection; a second query tells them apart. */
  #judgeModule(job, error) {
    try {
      this.#modules.probe().evaluateSync({ timeout: job.remaining() })
      job.stray(error)
    } catch (again) {
      const end = endOf(again, { isLate: job.isLate, isDisposed: this.#isolate.isDisposed })
      const own = () => thrown({ code: 'USER_ERROR', ...asText(again) }, job)
      job.refuse(end ?? job.withoutImport(own()))
    }
  }

  static {
    if (!findParts(process.env.NODE_COMPILE_CACHE)) this.#rehearse()
  }

  static #rehearse() {
    readParts()
    const cell = new Cell({ memoryMiB: 64, webAssembly: false })
    void cell.run(REHEARSAL, { released() {}, stdout() {}, stderr() {}, call: async () => 'null' })
    cacheParts(cell.#isolate)
    cell.dispose()
  }

  #start(job) {
    const { entry } = job.task
    const code = textOf(job)
    if (entry === 'module') return this.#startModule(job, code)
    const script = this.#compile(job, code)
    if (script === undefined) return this.#startModule(job, code)
    job.release()
    script.runSync(this.#context, { timeout: job.remaining(), release: true })
  }

  #compile({ name, task: { entry, language } }, code) {
    const message = `Cannot run language "${language}" by entry "${entry}": language "node" has it`
    if (!Object.hasOwn(WRAPPERS, entry)) throw new Refusal({ code: 'ENTRY_UNSUPPORTED', message })
    const [before, after, Body] = WRAPPERS[entry]
    try {
      const origin = { filename: name, columnOffset: -before.length }
      const script = this.#isolate.compileScriptSync(before + code + after, origin)
      if (Body !== undefined) assertClosed(Body, code)
      this.#trace?.of(before, code, after)
      return script
    } catch (error) {
      if (error instanceof Refusal || this.#isolate.isDisposed) throw error
      if (entry === 'handler' && MODULE_ONLY.test(error.message)) return undefined
      throw new Refusal(syntaxError(error, code, name))
    }
  }

  #openModules(job) {
    const require = (path) => this.#names(job, path)
    const { files } = job
    const parts = { isolate: this.#isolate, context: this.#context, files, name: '', require }
    this.#modules = new Modules(parts)
    this.#modules.open(job.remaining())
  }

  /** Imports a file for a cell. Throws the error of the file; another of the same turn is printed. */
  #load(path, id, timeout) {
    const root = this.#modules.load(path, id)
    try {
      root.evaluateSync({ timeout })
    } catch (error) {
      if (this.#isolate.isDisposed) throw error
      this.#modules.probe().evaluateSync({ timeout })
      this.#job.stray(error)
    }
  }

  /** V8's error for a script that does not compile. */
  #problemOf(code, filename) {
    try {
      this.#isolate.compileScriptSync(code, { filename }).release()
      return undefined
    } catch (error) {
      return error
    }
  }

  #isModule(text) {
    const [before, after] = COMMONJS
    try {
      this.#isolate.compileScriptSync(before + text + after).release()
      return false
    } catch (error) {
      return MODULE_ONLY.test(error.message)
    }
  }

  #startModule(job, code) {
    if (job.task.entry === 'handler')
      job.task = { ...job.task, entry: 'module', exportName: 'handler' }
    const require = (path) => this.#names(job, path)
    const { files, name } = job
    const parts = { isolate: this.#isolate, context: this.#context, files, name, require }
    const modules = new Modules(parts)
    modules.compile(job.task.code, code)
    this.#trace?.of('', code, '')
    job.release()
    modules.open(job.remaining())
    const root = modules.link()
    this.#modules = modules
    root.evaluateSync({ timeout: job.remaining() })
  }

  #enter(job, ...args) {
    return this.#realm.applySync(undefined, args, { timeout: job.remaining() })
  }

  /**
   * Host call of the realm. Arguments are hostile, answers are text or numbers. Never throws: an error created
   * here would expose host objects to user code. Null means refused.
   */
  #answer(op, a, b, c) {
    try {
      if (op === 'load') return runPart(this.#isolate, this.#context, a).derefInto()
      if (op === 'compile') return this.#commonjs(this.#job, a)
      if (op === 'call' && this.#job instanceof CellSession) return this.#job.callOut(a, b, c)
      if (op === 'call') return this.#call(this.#job, a, b, c)
      if (op === 'forget') return this.#job.forget(a)
      return answer(this.#job, op, a, b, c)
    } catch {
      return null
    }
  }

  /** Runs a CommonJS file for its importers; returns its exported names as JSON text. */
  #names(job, path) {
    job.names = ''
    try {
      this.#enter(job, 'run', path)
    } catch (error) {
      // An unhandled rejection it left behind does not count as a failure of the file.
      if (job.names === '') throw error
      job.stray(error)
    }
    return job.names
  }

  /** Compiles a CommonJS file into a function, or returns the reason for failure. */
  #commonjs(job, path) {
    const [before, after] = COMMONJS
    const origin = { filename: path, columnOffset: -before.length }
    let code = ''
    try {
      code = job.files.text(path)
      const script = this.#isolate.compileScriptSync(before + code + after, origin)
      return script.runSync(this.#context, { reference: true, release: true }).derefInto()
    } catch (error) {
      return (error instanceof Refusal ? error : syntaxError(error, code)).message
    }
  }

  #call(job, id, name, argsText) {
    // The capability may print as well: flush earlier output first.
    job.flush()
    const reply = (isOk, text) => {
      if (!job.isOver) this.#visit(job, () => this.#enter(job, 'reply', id, isOk, text))
    }
    job.call(String(name), String(argsText), { id }).then(
      (text) => reply(true, text),
      (error) => reply(false, error),
    )
  }

  #traced() {
    const ran = this.#trace?.take()
    return ran && { ran }
  }

  #usage() {
    const held = { used: this.#memoryBytes, peak: this.#memoryBytes }
    const cpuTimeMs = this.#cpuTimeMs()
    return { cpuTimeMs, memory: this.#heldMemory() ?? this.#last ?? held }
  }

  /** Above the limit garbage is collected first: the server ends a job that holds more. */
  #heldMemory() {
    const heap = this.#heap()
    const limit = this.#job?.task.memoryBytes ?? this.#memoryBytes
    if (heap === undefined || heap.used <= limit) return heap
    try {
      takeGcOf(this.#isolate)()
    } catch {
      return heap
    }
    const after = this.#heap()
    return after && { used: after.used, peak: Math.max(after.peak, heap.peak) }
  }

  /** V8 counts wall time while it runs, including preemption; the process's CPU time is then more accurate. */
  #cpuTimeMs() {
    // The process runs only this job.
    const { user, system } = process.cpuUsage(this.#cpuBefore)
    const used = (user + system) / 1e3
    try {
      return Math.min(used, Number(this.#isolate.cpuTime) / 1e6 - this.#cpuTimeMsBefore)
    } catch {
      return used
    }
  }

  #heap() {
    try {
      const heap = this.#isolate.getHeapStatisticsSync()
      const external = heap.externally_allocated_size
      const used = heap.used_heap_size + external
      return { used, peak: Math.max(used, heap.total_heap_size + external) }
    } catch {
      return undefined
    }
  }
}

const FLOODED = {
  status: 'limit',
  error: { code: 'OUTPUT', message: 'The job was ended at its OUTPUT limit' },
}

/** Source to compile; for TypeScript beyond erasable types, the transpiled text. */
function textOf(job) {
  const { code, typed } = job.task
  return typed ? job.toJavaScript(job.name, code) : code
}

/**
 * @typedef {import('./cell/job.js').Task} Task
 * @typedef {import('./cell/job.js').Hooks} Hooks
 * @typedef {import('./cell/job.js').End} End
 */
