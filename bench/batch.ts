/**
 * A hundred tiny calls: as a batch in one sandbox, as a hundred sequential jobs, and as a hundred concurrent ones,
 * interleaved in one run; then the same job from the result cache.
 *
 *     node bench/batch.ts [--rounds 50] [--json]
 */
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { assemble } from '../src/assemble/assemble.ts'
import { loadConfig } from '../src/config/load.ts'
import { systemClock } from '../src/contract/clock.ts'
import type { JobRequest } from '../src/contract/job.ts'
import { newJob } from '../src/job.ts'
import { timed } from '../src/lib/measure.ts'
import { sideBySide } from './side-by-side.ts'
import { startWarden } from '../src/sdk/start-warden.ts'

const CALLS = 100
const PAUSE_MS = 4
const code = 'return input * 2'
const inputs = Array.from({ length: CALLS }, (_, index) => index)
const who = { tenant: 'default', principal: 'bench', origin: 'library' } as const
const { signal } = new AbortController()

const { values: flags } = parseArgs({
  options: { rounds: { type: 'string', default: '50' }, json: { type: 'boolean' } },
})
const state = mkdtempSync(path.join(os.tmpdir(), 'mayfly-bench-'))

try {
  const { config } = loadConfig({ object: { state }, env: {}, cwd: state })
  const warden = await startWarden({ stateFolder: state })
  await using assembly = assemble({ config, warden, kind: 'server' })

  const run = async (asked: JobRequest): Promise<unknown> => {
    const outcome = await assembly.run(newJob(asked, who, systemClock), { signal })
    if (outcome.status !== 'ok') throw new Error(`the job ended as ${JSON.stringify(outcome)}`)
    return outcome.calls?.at(-1)?.result ?? outcome.result
  }
  const right = (last: unknown) => {
    if (last !== (CALLS - 1) * 2) throw new Error(`the last call answered ${String(last)}`)
  }
  const batch = async () => right(await run({ code, calls: inputs.map((input) => ({ input })) }))
  const inTurn = async () => {
    let last: unknown
    for (const input of inputs) last = await run({ code, input })
    right(last)
  }
  const atOnce = async () =>
    right((await Promise.all(inputs.map((input) => run({ code, input })))).at(-1))
  const again = () => run({ code, input: 1, idempotent: true })
  const anew = () => run({ code, input: 1 })

  const side = await sideBySide(
    [
      { name: 'one batch', once: () => timed(batch) },
      { name: 'in turn', once: () => timed(inTurn) },
      { name: 'at once', once: () => timed(atOnce) },
    ],
    Number(flags.rounds),
    PAUSE_MS,
  )
  const one = await sideBySide(
    [
      { name: 'run', once: () => timed(anew) },
      { name: 'given again', once: () => timed(again) },
    ],
    Number(flags.rounds) * 4,
    PAUSE_MS,
  )
  const ratio = (a: number, b: number) => Math.round((a / b) * 10) / 10
  const p50 = (name: string) => side.get(name)!.p50
  const report = {
    calls: CALLS,
    milliseconds: { ...Object.fromEntries(side), ...Object.fromEntries(one) },
    ratios: {
      'in turn / one batch': ratio(p50('in turn'), p50('one batch')),
      'at once / one batch': ratio(p50('at once'), p50('one batch')),
      'run / given again': ratio(one.get('run')!.p50, one.get('given again')!.p50),
    },
  }
  console.log(flags.json ? JSON.stringify(report) : JSON.stringify(report, undefined, 2))
} finally {
  for (const folder of [state, `${state}-warden`]) rmSync(folder, { recursive: true, force: true })
}
