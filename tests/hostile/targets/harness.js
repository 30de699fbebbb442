import { createInterface } from 'node:readline'
import { format } from 'node:util'

/**
 * A small server around one sandbox, as its users write them: it answers jobs, and must still be there
 * afterwards. A line in is a job `{code, input, tenant}` or `ping`; a line out is how it ended or `pong`.
 *
 * @typedef {{ code: string, input: unknown }} Job
 * @typedef {{ input: unknown, console: object, call: Function, print: (text: string) => void }} Lent
 * @param {(job: Job, lent: Lent, limits: { timeoutMs: number, memoryMiB: number }) => Promise<unknown>} run
 */
export function serve(run) {
  const limits = { timeoutMs: Number(process.env.HOSTILE_LIMIT_MS ?? 300), memoryMiB: 32 }
  globalThis.hostCanary = process.env.HOSTILE_CANARY
  const pooled = Buffer.from(`${process.env.HOSTILE_CANARY}`)
  createInterface({ input: process.stdin }).on('line', async (line) => {
    if (line === 'ping') return answer({ pong: pooled.length })
    const { id, job } = JSON.parse(line)
    const printed = []
    const print = (text) => void (printed.length < 1000 && printed.push(text.slice(0, 10_000)))
    let end
    try {
      end = { status: 'ok', result: JSON.stringify(await run(job, lend(job, print), limits)) }
    } catch (error) {
      end = { status: 'error', error: String(error?.message ?? error) }
    }
    answer({ id, ...end, printed: printed.join('\n').slice(0, 100_000) })
  })
  answer({ ready: true })
}

/** Typical host objects: a formatting console, a capability call, the input. */
function lend(job, print) {
  const log = (...args) => print(format(...args))
  return {
    input: job.input,
    print,
    console: { log, info: log, warn: log, error: log, debug: log },
    call: async (name) => {
      throw new Error(`Cannot call "${name}": nothing by that name is granted`)
    },
  }
}

/** Rejects on timeout: the usual bound on asynchronous work. */
export function within(promise, timeoutMs) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('timed out')), timeoutMs)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

function answer(value) {
  // readline also splits at U+2028 and U+2029.
  const line = JSON.stringify(value).replace(
    /[\u2028\u2029]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16)}`,
  )
  process.stdout.write(`${line}\n`)
}
