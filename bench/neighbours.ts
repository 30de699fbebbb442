/**
 * Latency of a short job beside twenty jobs of the same key that never stop computing: p50 and p95 through the HTTP door,
 * alone and beside them, one after another with a pause. The busy jobs end with the server.
 *
 *     node bench/neighbours.ts [--jobs 60] [--busy 20] [--languages python,js,node] [--json]
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { startOwnServer } from './own-server.ts'

const PAUSE_MS = 100
/** Time in which spares are started, and then in which the busy jobs have begun to compute. */
const SETTLE_MS = 3_000
const short: Readonly<Record<string, string>> = {
  python: 'print(sum(n * n for n in range(20000)))',
  node: 'let sum = 0; for (let n = 0; n < 2e5; n++) sum += n * n; console.log(sum)',
  js: 'let sum = 0; for (let n = 0; n < 2e5; n++) sum += n * n; return sum',
}
const busy = { language: 'python', code: 'while True: pass', limits: { timeout: '10m' } }

const { values: flags } = parseArgs({
  options: {
    jobs: { type: 'string', default: '60' },
    busy: { type: 'string', default: '20' },
    languages: { type: 'string', default: 'python,js,node' },
    json: { type: 'boolean' },
  },
})
const jobs = Math.min(1_000, Math.max(20, Number(flags.jobs) || 60))
const busyJobs = Math.min(100, Math.max(1, Number(flags.busy) || 20))
const report: Record<string, unknown> = { jobs, busy: busyJobs }
for (const language of flags.languages.split(',')) report[language] = await measure(language)
console.log(JSON.stringify(report, undefined, flags.json ? 0 : 2))

async function measure(language: string) {
  const code = short[language]
  if (!code) throw new Error(`Cannot time "${language}": expected ${Object.keys(short).join()}`)
  const server = await startOwnServer()
  let ended: Promise<unknown> = Promise.resolve()
  try {
    await server.run({ language, code })
    await sleep(SETTLE_MS)
    const alone = await series(() => server.run({ language, code }))
    // Cut off when the server stops.
    ended = Promise.allSettled(Array.from({ length: busyJobs }, () => server.run(busy)))
    await sleep(SETTLE_MS)
    const beside = await series(() => server.run({ language, code }))
    return { alone, beside, ratio: Math.round((beside.p95 / alone.p95) * 100) / 100 }
  } finally {
    await server[Symbol.asyncDispose]()
    await ended
  }
}

async function series(run: () => Promise<string>) {
  const samples: number[] = []
  const ends: Record<string, number> = {}
  for (let n = 0; n < jobs; n++) {
    const began = performance.now()
    const end = await run()
    samples.push(performance.now() - began)
    ends[end] = (ends[end] ?? 0) + 1
    await sleep(PAUSE_MS)
  }
  const sorted = samples.toSorted((a, b) => a - b)
  const at = (share: number) => Math.round(sorted[Math.floor(sorted.length * share)]!)
  return { p50: at(0.5), p95: at(0.95), ends }
}
