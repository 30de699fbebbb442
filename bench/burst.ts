/**
 * Jobs that sleep and come all at once, through the HTTP door of a server of its own: when the last one is over, how
 * many were refused, and the processor time of the warden for each. A machine of two cores starts most of them from nothing.
 *
 *     node bench/burst.ts [--jobs 100] [--seconds 4] [--languages python,js,node] [--json]
 */
import os from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { processFacts } from '../src/os/proc.ts'
import { startOwnServer } from './own-server.ts'

/** Time in which spares are started before the burst. */
const SETTLE_MS = 3000
const RELEASE_MS = 700
const MS_PER_TICK = 10
const sources: Readonly<Record<string, (seconds: number) => string>> = {
  python: (seconds) => `import time\ntime.sleep(${seconds})`,
  node: (seconds) => `await new Promise((done) => setTimeout(done, ${seconds * 1000}))`,
  js: (seconds) => `await new Promise((done) => setTimeout(done, ${seconds * 1000})); return 1`,
}

const { values: flags } = parseArgs({
  options: {
    jobs: { type: 'string', default: '100' },
    seconds: { type: 'string', default: '4' },
    languages: { type: 'string', default: 'python,js,node' },
    json: { type: 'boolean' },
  },
})
const jobs = Math.min(768, Math.max(1, Number(flags.jobs) || 100))
const seconds = Math.min(20, Math.max(0, Number(flags.seconds) || 4))
const report: Record<string, unknown> = { jobs, seconds, cores: os.availableParallelism() }
for (const language of flags.languages.split(',')) report[language] = await burst(language)
console.log(JSON.stringify(report, undefined, flags.json ? 0 : 2))

async function burst(language: string) {
  const source = sources[language]
  if (!source) throw new Error(`Cannot time "${language}": expected ${Object.keys(sources).join()}`)
  await using server = await startOwnServer()
  const run = (code: string) => server.run({ language, code, limits: { timeout: '60s' } })
  const first = await run(source(0))
  await sleep(SETTLE_MS)
  const ticksBefore = ticksOf(server.pid)
  const began = performance.now()
  const ends = await Promise.all(Array.from({ length: jobs }, () => run(source(seconds))))
  const overMs = Math.round(performance.now() - began)
  // The last walls are released after the responses of their jobs.
  await sleep(RELEASE_MS)
  const wardenMs = Math.round(((ticksOf(server.pid) - ticksBefore) * MS_PER_TICK) / jobs)
  const told = Object.entries(Object.groupBy(ends, (end) => end))
  const counted = Object.fromEntries(told.map(([end, all]) => [end, all?.length]))
  return { first, overMs, wardenMs, ends: counted }
}

/** Processor time of a process so far, without that of its children. */
function ticksOf(pid: number): number {
  return processFacts(pid)?.cpuTicks ?? 0
}
