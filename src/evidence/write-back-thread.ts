import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { Clock, Timer } from '../contract/clock.ts'

/** Writes the WAL of a database back on a thread, started when first needed and ended when idle. */
export class WriteBackThread {
  readonly #path: string
  readonly #clock: Clock
  #worker: Worker | undefined
  #idle: Timer | undefined

  constructor(path: string, clock: Clock) {
    this.#path = path
    this.#clock = clock
  }

  /** Call again only after the answer. Rejects with the error of SQLite, or if the thread cannot start or ends. */
  async writeBack(): Promise<void> {
    this.#idle?.cancel()
    const worker = (this.#worker ??= this.#start())
    // A process that waits for its record to be closed may have nothing else to wait for.
    worker.ref()
    try {
      await answerOf(worker)
    } finally {
      worker.unref()
      this.#idle = this.#clock.after(idleMs, () => void this.close())
      this.#idle.unref?.()
    }
  }

  async close(): Promise<void> {
    this.#idle?.cancel()
    const worker = this.#worker
    this.#worker = undefined
    if (worker) await endOf(worker)
  }

  #start(): Worker {
    const worker = new Worker(new URL('./write-back.js', import.meta.url), {
      workerData: this.#path,
      env: {},
      execArgv: ['--disable-warning=ExperimentalWarning'],
      resourceLimits: { maxOldGenerationSizeMb: heapMiB },
    })
    const gone = () => {
      if (this.#worker === worker) this.#worker = undefined
    }
    worker.on('error', gone)
    worker.on('exit', gone)
    return worker
  }
}

interface WriteBackAnswer {
  readonly failed?: { readonly message: string; readonly errcode?: number }
}

const idleMs = 30_000
const heapMiB = 16
/** As long as a checkpoint waits for a lock, and some more. */
const closeMsMax = 10_000

/** The thread closes its database and ends itself; cut off in a call of SQLite (terminate) only if it hangs. */
async function endOf(worker: Worker): Promise<void> {
  const ended = once(worker, 'exit')
  worker.ref()
  worker.postMessage('close')
  const late = setTimeout(() => void worker.terminate(), closeMsMax)
  await ended.finally(() => clearTimeout(late)).catch(() => undefined)
}

async function answerOf(worker: Worker): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<WriteBackAnswer>()
  const ended = () => reject(new Error('the thread that writes the record back ended'))
  worker.once('message', resolve).once('error', reject).once('exit', ended)
  worker.postMessage('writeBack')
  try {
    const { failed } = await promise
    if (failed) throw Object.assign(new Error(failed.message), failed)
  } finally {
    worker.off('message', resolve).off('error', reject).off('exit', ended)
  }
}
