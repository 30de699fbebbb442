/**
 * A set of scripts in a fresh isolate, from job to outcome, beside vm2 in process. One run, contenders interleaved. Ends with exit
 * code 1 if the geometric mean of the ratios is above 1.
 *
 *     node bench/vm2.ts [--rounds 200] [--json]
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { isDeepStrictEqual, parseArgs } from 'node:util'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { assemble, type Assembly } from '../src/assemble/assemble.ts'
import { loadConfig } from '../src/config/load.ts'
import { systemClock } from '../src/contract/clock.ts'
import { newJob } from '../src/job.ts'
import { timed } from '../src/lib/measure.ts'
import { startWarden } from '../src/sdk/start-warden.ts'
import { scripts, type Script } from './vm2-scripts.ts'
import { sideBySide } from './side-by-side.ts'

const PAUSE_MS = 4
/** Runs before the first script, whose figures would have the first calls of each function in them. */
const WARM_RUNS = 50
const TIMEOUT_MS = 5_000
const who = { tenant: 'default', principal: 'bench', origin: 'library' } as const
const { signal } = new AbortController()

if (process.send) answerParent()
else await compare()

async function compare(): Promise<void> {
  const { values: flags } = parseArgs({
    options: { rounds: { type: 'string', default: '200' }, json: { type: 'boolean' } },
  })
  const state = mkdtempSync(path.join(os.tmpdir(), 'mayfly-bench-'))
  try {
    const { config } = loadConfig({ object: { state }, env: {}, cwd: state })
    const warden = await startWarden({ stateFolder: state })
    await using assembly = assemble({ config, warden, kind: 'server' })
    using vm2 = openVm2()
    const ratios: Record<string, number> = {}
    const [first] = Object.values(scripts)
    for (let run = 0; run < WARM_RUNS; run++) await throughRoad(assembly, first!)
    for (const name of Object.keys(scripts)) {
      const found = await sideBySide(
        [
          { name: 'mayfly', once: () => timed(() => throughRoad(assembly, scripts[name]!)) },
          { name: 'vm2', once: () => vm2.once(name) },
        ],
        Number(flags.rounds),
        PAUSE_MS,
      )
      ratios[name] = found.get('mayfly')!.p50 / found.get('vm2')!.p50
    }
    report(ratios, flags.json === true)
  } finally {
    for (const folder of [state, `${state}-warden`])
      rmSync(folder, { recursive: true, force: true })
  }
}

function report(ratios: Readonly<Record<string, number>>, isJson: boolean): void {
  const all = Object.values(ratios)
  const mean = Math.exp(all.reduce((sum, one) => sum + Math.log(one), 0) / all.length)
  const rounded = Object.fromEntries(
    Object.entries({ ...ratios, mean }).map(([name, value]) => [name, Number(value.toFixed(2))]),
  )
  if (isJson) console.log(JSON.stringify({ 'mayfly / vm2': rounded }))
  else for (const [name, value] of Object.entries(rounded)) console.log(`${name}\t${value}`)
  if (mean > 1) process.exitCode = 1
}

async function throughRoad(assembly: Assembly, { code, input, answer }: Script): Promise<void> {
  const outcome = await assembly.run(newJob({ code, input }, who, systemClock), { signal })
  if (!isDeepStrictEqual(outcome.result, answer))
    throw new Error(`The road answered ${JSON.stringify(outcome)}`)
}

/** vm2 has a process of its own, so that its heap affects no other; the clock runs there. */
function openVm2() {
  const child = fork(fileURLToPath(import.meta.url), {
    execArgv: ['--disable-warning=ExperimentalWarning'],
  })
  return {
    async once(name: string): Promise<number> {
      child.send(name)
      const [took] = (await once(child, 'message')) as [number]
      return took
    },
    [Symbol.dispose]: () => child.kill(),
  }
}

function answerParent(): void {
  const { VM } = createRequire(import.meta.url)('vm2') as {
    VM: new (options: { timeout: number; sandbox: object }) => { run(code: string): unknown }
  }
  process.on('message', (name: string) => {
    const { code, input, answer } = scripts[name]!
    const run = () => {
      const value = new VM({ timeout: TIMEOUT_MS, sandbox: { input } }).run(
        `JSON.stringify((function (input) { ${code} })(input))`,
      )
      if (!isDeepStrictEqual(JSON.parse(String(value)), answer))
        throw new Error(`vm2 answered ${String(value)}`)
    }
    void timed(run).then((took) => process.send!(took))
  })
}
