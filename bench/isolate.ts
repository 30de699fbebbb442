/**
 * A never-used isolate, from job to outcome, beside what people would use instead. One run, all contenders in turn.
 *
 *     node bench/isolate.ts [--rounds 400] [--json]
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { parseArgs } from 'node:util'
import vm from 'node:vm'
import { Worker } from 'node:worker_threads'
import ivm from 'isolated-vm'
import { assemble } from '../src/assemble.ts'
import { loadConfig } from '../src/config/load.ts'
import { systemClock } from '../src/contract/clock.ts'
import type { Profile } from '../src/contract/profile.ts'
import type { Provider } from '../src/contract/provider.ts'
import { newJob } from '../src/job.ts'
import { startWarden } from '../src/sdk/start-warden.ts'
import { createIsolateProvider } from '../src/tiers/isolated-vm/provider.ts'
import { rate, sideBySide, timed, type Contender } from '../src/lib/measure.ts'

const CODE = 'return input.a + 1'
const INPUT = { a: 1 }
const SATURATE_MS = 4_000
const PAUSE_MS = 4

const { values: flags } = parseArgs({
  options: { rounds: { type: 'string', default: '400' }, json: { type: 'boolean' } },
})
const rounds = Number(flags.rounds)
const state = mkdtempSync(path.join(os.tmpdir(), 'mayfly-bench-'))

try {
  const { config } = loadConfig({ object: { state }, env: {}, cwd: state })
  const warden = await startWarden({ stateFolder: state })
  await using assembly = assemble({ config, warden, kind: 'server' })
  const proved = await assembly.providers()
  const provider = proved.find(({ provider }) => provider.name === 'isolated-vm')!.provider
  const who = { tenant: 'default', principal: 'bench', origin: 'library' } as const
  const signal = new AbortController().signal

  const road = async () => {
    const outcome = await assembly.run(newJob({ code: CODE, input: INPUT }, who, systemClock), {
      signal,
    })
    if (outcome.result !== 2) throw new Error(`the road answered ${JSON.stringify(outcome)}`)
    return outcome
  }
  const { profile } = await profileOf(road, assembly)
  const seam = () => throughSeam(provider, profile)

  const delay = monitorEventLoopDelay({ resolution: 1 })
  const contenders: Contender[] = [
    { name: 'road', once: () => timed(road) },
    { name: 'seam', once: () => timed(seam) },
    { name: 'bare isolated-vm, in process', once: () => timed(bareIsolate) },
    { name: 'node:vm, no wall', once: () => timed(bareVm) },
    { name: 'worker thread', once: () => timed(workerThread) },
  ]
  const side = await sideBySide(contenders, rounds, PAUSE_MS)
  const spawned = await sideBySide(
    [{ name: 'spawned node', once: () => timed(spawnedNode) }],
    Math.min(rounds, 20),
    0,
  )

  const one = createIsolateProvider({ warden, voice: assembly.voice, spares: 0, wallsMax: 3 })
  await one.detect()
  const empty = await sideBySide(
    [{ name: 'seam, empty pool', once: () => timed(() => throughSeam(one, profile)) }],
    Math.min(rounds, 200),
    PAUSE_MS,
  )
  await one.close?.()

  delay.enable()
  const cores = os.availableParallelism()
  const seamRate = await rate(seam, cores, SATURATE_MS)
  delay.disable()
  const roadRate = await rate(road, cores, SATURATE_MS)
  const facts = await warden.facts()

  const rows = Object.fromEntries([...side, ...spawned, ...empty])
  const bare = rows['bare isolated-vm, in process']!
  const report = {
    machine: { cores, cpu: os.cpus()[0]?.model, node: process.version, load: os.loadavg()[0] },
    milliseconds: rows,
    ratios: {
      'road p50 / bare isolated-vm p50': ratio(rows['road']!.p50, bare.p50),
      'seam p50 / bare isolated-vm p50': ratio(rows['seam']!.p50, bare.p50),
    },
    perSecond: { seam: seamRate, road: roadRate },
    processes: facts.walls.map(({ program, proportionalBytes }) => ({
      program,
      MiB: mib(proportionalBytes),
    })),
    warden: { MiB: mib(facts.proportionalBytes) },
  }
  console.log(flags.json ? JSON.stringify(report) : text(report))
} finally {
  rmSync(state, { recursive: true, force: true })
}

function ratio(a: number, b: number): number {
  return Math.round((a / b) * 100) / 100
}

function mib(bytes: number): number {
  return Math.round(bytes / 2 ** 20)
}

function text(report: object): string {
  return JSON.stringify(report, undefined, 2)
}

/** The profile the road makes for this job, so that the seam is measured with the same one. */
async function profileOf(
  run: () => Promise<unknown>,
  assembly: { pool: { acquire: Function } },
): Promise<{ profile: Profile }> {
  const { pool } = assembly as {
    pool: { acquire: (profile: Profile, ...rest: unknown[]) => unknown }
  }
  const acquire = pool.acquire
  let seen: Profile | undefined
  pool.acquire = (profile, ...rest) => {
    seen = profile
    return acquire.call(pool, profile, ...rest)
  }
  await run()
  pool.acquire = acquire
  return { profile: seen! }
}

async function throughSeam(provider: Provider, profile: Profile): Promise<void> {
  await using sandbox = await provider.launch(profile, systemClock)
  const task = {
    run: 'bench',
    language: 'js',
    entry: 'body',
    code: CODE,
    inputText: '{"a":1}',
    files: [],
    capabilities: [],
  } as const
  const end = await sandbox.run(task, { stdout() {}, stderr() {}, released() {} })
  if (end.resultText !== '2') throw new Error(`the seam answered ${JSON.stringify(end)}`)
}

async function bareIsolate(): Promise<void> {
  const isolate = new ivm.Isolate({ memoryLimit: 128 })
  const context = await isolate.createContext()
  const script = await isolate.compileScript(
    `(function (input) { ${CODE} })(${JSON.stringify(INPUT)})`,
  )
  const result: unknown = await script.run(context, { timeout: 5000, copy: true })
  isolate.dispose()
  if (result !== 2) throw new Error('bare isolated-vm answered otherwise')
}

function bareVm(): void {
  const result: unknown = vm.runInNewContext(
    `(function (input) { ${CODE} })(input)`,
    { input: INPUT },
    { timeout: 5000 },
  )
  if (result !== 2) throw new Error('node:vm answered otherwise')
}

async function workerThread(): Promise<void> {
  const worker = new Worker(
    `const { parentPort, workerData } = require('node:worker_threads')
     parentPort.postMessage((function (input) { ${CODE} })(workerData))`,
    { eval: true, workerData: INPUT, resourceLimits: { maxOldGenerationSizeMb: 128 } },
  )
  const [result] = (await once(worker, 'message')) as [unknown]
  await worker.terminate()
  if (result !== 2) throw new Error('the worker thread answered otherwise')
}

async function spawnedNode(): Promise<void> {
  const child = spawn(process.execPath, [
    '-e',
    `process.stdout.write(String((function (input) { ${CODE} })(${JSON.stringify(INPUT)})))`,
  ])
  let said = ''
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()))
  await once(child, 'close')
  if (said !== '2') throw new Error('the spawned node answered otherwise')
}
