/**
 * Cost of the record for a job, without walls: processor time of the loop and of the whole process, and the time that
 * the calls at its begin and its end take. With another tree, in turns with that one.
 *
 *     node bench/record.ts [--jobs 6000] [--other TREE]
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { figures } from '../src/lib/measure.ts'

const rounds = 3
const warmJobs = 1000
const jobsMade = 100
const { values: flags } = parseArgs({
  options: {
    jobs: { type: 'string', default: '6000' },
    other: { type: 'string' },
    of: { type: 'string' },
  },
})
const jobs = Math.min(100_000, Math.max(100, Number(flags.jobs) || 6000))
if (flags.of) console.log(JSON.stringify(await measure(flags.of)))
else compare()

function compare(): void {
  const own = fileURLToPath(new URL('..', import.meta.url))
  const trees = [own, ...(flags.other ? [path.resolve(flags.other)] : [])]
  for (let round = 0; round < rounds; round += 1)
    for (const tree of trees) {
      const args = ['--disable-warning=ExperimentalWarning', fileURLToPath(import.meta.url)]
      args.push('--of', tree, '--jobs', String(jobs))
      console.log(tree, execFileSync(process.execPath, args, { encoding: 'utf8' }).trim())
    }
}

async function measure(tree: string): Promise<unknown> {
  const of = (file: string) => import(pathToFileURL(path.join(tree, file)).href)
  const { openRecord } = await of('src/evidence/record.ts')
  const { systemClock } = await of('src/contract/clock.ts')
  const { facts, job, plan, verdict } = await of('tests/fixtures/record.ts')
  const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-bench-'))
  const record = openRecord({ stateFolder: folder, clock: systemClock })
  const asked = Array.from({ length: jobsMade }, (_, n) => job(`exec_${n}`))
  const times: number[] = []
  await run(warmJobs)
  times.length = 0
  const [loop, whole] = [loopMicros(), process.cpuUsage()]
  await run(jobs)
  const { user, system } = process.cpuUsage(whole)
  const result = {
    loopMicros: Math.round((loopMicros() - loop) / jobs),
    processMicros: Math.round((user + system) / jobs),
    callsMs: figures(times),
  }
  await record.close()
  rmSync(folder, { recursive: true, force: true })
  return result

  async function run(count: number): Promise<void> {
    for (let n = 0; n < count; n += 1) {
      const beginning = performance.now()
      const entry = record.begin(asked[n % jobsMade], verdict, plan)
      const begun = performance.now() - beginning
      await turn()
      const ending = performance.now()
      entry.end(facts)
      times.push(begun + performance.now() - ending)
    }
  }
}

/** Processor time of the main thread. */
function loopMicros(): number {
  const text = readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8')
  return Number(text.split(' ')[0]) / 1000
}
