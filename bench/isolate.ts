/**
 * Fresh isolate, from job to outcome, beside the usual alternatives; the analysis; a single `mayfly run`; and
 * memory. One run, contenders interleaved. This process stands for a server: it has the heap of one, and measures after a
 * thousand jobs.
 *
 *     node bench/isolate.ts [--rounds 400] [--warm 1000] [--json]
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { assemble, type Assembly } from '../src/assemble/assemble.ts'
import { loadConfig } from '../src/config/load.ts'
import { systemClock } from '../src/contract/clock.ts'
import type { Profile } from '../src/contract/profile.ts'
import type { Provider } from '../src/contract/provider.ts'
import { newJob } from '../src/job.ts'
import { figures, rate, timed } from '../src/lib/measure.ts'
import { sideBySide } from './side-by-side.ts'
import { proportionalBytes } from '../src/os/proc.ts'
import { startWarden } from '../src/sdk/start-warden.ts'
import { createIsolateProvider } from '../src/tiers/isolated-vm/provider.ts'
import type { WardenClient } from '../src/walls/client.ts'
import { serverFlags } from '../src/warden/start-server.ts'
import { answer, code, input, openOthers, program } from './contenders.ts'

const [HEAP] = serverFlags.server
const SATURATE_MS = 5_000
const PAUSE_MS = 4
const STARTS = 15
const SPARES_WEIGHED = 32
const MIB = 2 ** 20
const BIN = fileURLToPath(new URL('../bin/mayfly.js', import.meta.url))

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '400' },
    warm: { type: 'string', default: '1000' },
    json: { type: 'boolean' },
  },
})
if (!process.execArgv.includes(HEAP)) {
  const args = [HEAP, ...process.execArgv, ...process.argv.slice(1)]
  process.exit(spawnSync(process.execPath, args, { stdio: 'inherit' }).status ?? 1)
}
const rounds = Number(flags.rounds)
const state = mkdtempSync(path.join(os.tmpdir(), 'mayfly-bench-'))
const who = { tenant: 'default', principal: 'bench', origin: 'library' } as const
const { signal } = new AbortController()

try {
  const { config } = loadConfig({ object: { state }, env: {}, cwd: state })
  const warden = await startWarden({ stateFolder: state })
  await using assembly = assemble({ config, warden, kind: 'server' })
  const report = await measure(assembly, warden)
  console.log(flags.json ? JSON.stringify(report) : JSON.stringify(report, undefined, 2))
} finally {
  for (const folder of [state, `${state}-warden`]) rmSync(folder, { recursive: true, force: true })
}

async function measure(assembly: Assembly, warden: WardenClient) {
  const [isolate] = await assembly.walls()
  const { provider } = isolate!
  const profile = await profileOf(assembly)
  const road = () => throughRoad(assembly, code)
  const seam = () => throughSeam(provider, profile)
  using others = openOthers()
  const side = await sideBySide(
    [
      { name: 'road', once: () => timed(road) },
      { name: 'seam', once: () => timed(seam) },
      ...others.contenders,
    ],
    rounds,
    PAUSE_MS,
    Number(flags.warm),
  )
  const p50 = (name: string) => side.get(name)!.p50
  const p99 = (name: string) => side.get(name)!.p99
  const against = (name: string) => ({
    [`road / ${name}`]: ratio(p50('road') / p50(name)),
    [`seam / ${name}`]: ratio(p50('seam') / p50(name)),
    [`road / ${name}, p99`]: ratio(p99('road') / p99(name)),
  })
  return {
    machine: {
      cores: os.availableParallelism(),
      node: process.version,
      load: ratio(os.loadavg()[0]!),
    },
    milliseconds: { ...Object.fromEntries(side), ...(await emptyPool(assembly, warden, profile)) },
    ratios: { ...against('bare isolated-vm, in process'), ...against('vm2, in process') },
    perSecond: {
      'seam, two at once': await rate(seam, 2, SATURATE_MS),
      'road, two at once': await rate(road, 2, SATURATE_MS),
    },
    analysis: await analysis(assembly),
    trace: await traces(assembly),
    'event loop blocked by a start, ms at most': await blockedByStarts(assembly, warden),
    'from shell to shell': await shellToShell(),
    MiB: await weights(assembly, warden),
  }
}

async function throughRoad(assembly: Assembly, source: string, trace = false): Promise<void> {
  const job = newJob({ code: source, input, trace }, who, systemClock)
  const outcome = await assembly.run(job, { signal })
  if (outcome.result !== answer) throw new Error(`the road answered ${JSON.stringify(outcome)}`)
}

async function throughSeam(provider: Provider, profile: Profile): Promise<void> {
  await using sandbox = await provider.launch(profile, systemClock)
  const task = {
    run: 'bench',
    language: 'js',
    entry: 'body',
    code,
    inputText: '{"a":1}',
    files: [],
    capabilities: [],
  } as const
  const end = await sandbox.run(task, { stdout() {}, stderr() {}, released() {} })
  if (end.resultText !== String(answer)) throw new Error(`the seam answered ${JSON.stringify(end)}`)
}

/** Profile that the pipeline makes for this job, so that the provider is measured with the same one. */
async function profileOf(assembly: Assembly): Promise<Profile> {
  const { pool } = assembly
  const acquire = pool.acquire.bind(pool)
  let seen: Profile | undefined
  const watched = pool as { acquire: typeof acquire }
  watched.acquire = (profile, ...rest) => {
    seen = profile
    return acquire(profile, ...rest)
  }
  await throughRoad(assembly, code)
  watched.acquire = acquire
  return seen!
}

/** No spares: every isolate is made within the job's time. */
async function emptyPool(assembly: Assembly, warden: WardenClient, profile: Profile) {
  const { emitter } = assembly
  const provider = createIsolateProvider({ warden, emitter, spares: 0, wallsMax: 3 })
  await provider.detect()
  const one = { name: 'seam, empty pool', once: () => timed(() => throughSeam(provider, profile)) }
  const found = await sideBySide([one], Math.min(rounds, 200), PAUSE_MS)
  await provider.close?.()
  return Object.fromEntries(found)
}

/** 10 KB of ordinary source, uncached and cached. */
async function analysis(assembly: Assembly) {
  const filler = Array.from(
    { length: 130 },
    (_, n) => `function part${n}(list) { return list.map((x) => x * ${n}).filter(Boolean) }`,
  )
  const source = (n: number) => `// ${n}\n${filler.join('\n')}\nreturn input.a + 1`
  const ask = async (n: number) => {
    const job = newJob({ code: source(n), input }, who, systemClock)
    const began = performance.now()
    await assembly.analyse(job)
    return performance.now() - began
  }
  const first = await ask(-1)
  const uncached = await several(100, (n) => ask(n))
  const cached = await several(100, () => ask(-1))
  return { bytes: source(0).length, 'first, ms': ratio(first), uncached, cached }
}

async function several(count: number, work: (n: number) => Promise<number>) {
  const samples: number[] = []
  for (let n = 0; n < count; n++) samples.push(await work(n))
  return figures(samples)
}

/** Cost of function tracing, for a computing job and an almost empty one. */
async function traces(assembly: Assembly) {
  const loop = 'let s = 0; for (let i = 0; i < 3e6; i++) s = (s + i * i) | 0; return 2'
  const contenders = [true, false].flatMap((trace) =>
    Object.entries({ loop, 'small job': code }).map(([name, source]) => ({
      name: trace ? `${name}, traced` : name,
      once: () => timed(() => throughRoad(assembly, source, trace)),
    })),
  )
  const found = await sideBySide(contenders, Math.min(rounds, 50), PAUSE_MS)
  const p50 = (name: string) => found.get(name)!.p50
  return {
    milliseconds: Object.fromEntries(found),
    ratios: {
      loop: ratio(p50('loop, traced') / p50('loop')),
      'small job': ratio(p50('small job, traced') / p50('small job')),
    },
  }
}

/** Event loop lag of this process, which stands for a server, while the warden starts walls. */
async function blockedByStarts(assembly: Assembly, warden: WardenClient): Promise<number> {
  const { emitter } = assembly
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  for (let n = 0; n < 5; n++) {
    const provider = createIsolateProvider({
      warden,
      emitter,
      spares: 0,
      wallsMax: 1,
      keepReady: false,
    })
    await provider.detect()
    await provider.close?.()
  }
  delay.disable()
  return ratio(delay.max / 1e6)
}

/** Single `mayfly run` as a person would type it, beside Node itself. */
async function shellToShell() {
  const file = path.join(state, 'one.js')
  writeFileSync(file, 'console.log(1 + 1)\n')
  const own = path.join(state, 'run')
  const run = [BIN, 'run', file, '--state', own, '--quiet']
  await program(run)
  const found = await sideBySide(
    [
      { name: 'mayfly run FILE', once: () => timed(() => program(run)) },
      { name: 'mayfly run --once FILE', once: () => timed(() => program([...run, '--once'])) },
      { name: 'node FILE', once: () => timed(() => program([file])) },
    ],
    STARTS,
    0,
  )
  rmSync(`${own}-warden`, { recursive: true, force: true })
  return Object.fromEntries(found)
}

/** PSS. A live isolate is the difference between a worker with many spares and one with none. */
async function weights(assembly: Assembly, warden: WardenClient) {
  const { emitter } = assembly
  const sizeWith = async (spares: number) => {
    const provider = createIsolateProvider({
      warden,
      emitter,
      spares,
      wallsMax: 1,
      keepReady: false,
    })
    const before = new Set((await warden.facts()).walls.map(({ id }) => id))
    await provider.detect()
    const { walls } = await warden.facts()
    const size = walls.find(({ id }) => !before.has(id))?.proportionalBytes ?? 0
    await provider.close?.()
    return size
  }
  const bare = await sizeWith(0)
  const full = await sizeWith(SPARES_WEIGHED)
  const { walls, proportionalBytes: ofWarden } = await warden.facts()
  return {
    'live isolate': ratio((full - bare) / SPARES_WEIGHED / MIB),
    walls: walls.map(
      ({ program: name, proportionalBytes: bytes }) => `${name} ${Math.round(bytes / MIB)}`,
    ),
    warden: Math.round(ofWarden / MIB),
    'this process': Math.round(proportionalBytes(process.pid) / MIB),
  }
}

function ratio(value: number): number {
  return Math.round(value * 100) / 100
}
