import { spawn } from 'node:child_process'
import { once } from 'node:events'
import os from 'node:os'
import type { Command } from 'commander'
import type { Assembly } from '../assemble.ts'
import type { JobRequest } from '../contract/job.ts'
import { figures, rate, timed, type Figures } from '../lib/measure.ts'
import { note, printJson, table, type Globals } from './print.ts'

export function register(program: Command): void {
  program
    .command('bench')
    .description('figures of each available wall beside a plain process, in one run')
    .option('--rounds <n>', 'runs of each', '200')
    .action(async (_own, command: Command) => {
      const flags = command.optsWithGlobals<Globals & { rounds: string }>()
      const { openHere } = await import('./here.ts')
      const here = await openHere(flags, 'library')
      try {
        const report = await measure(here.assembly, Number(flags.rounds), flags)
        if (flags.json) printJson(report)
        else print(report)
      } finally {
        await here.close()
      }
    })
}

interface Report {
  readonly tiers: Readonly<Record<string, Readonly<Record<string, Figures>>>>
  readonly baseline: Readonly<Record<string, Figures>>
  readonly perSecond: Readonly<Record<string, number>>
  readonly machine: { readonly cores: number; readonly node: string; readonly load: number }
}

const CODE = 'return input + 1'
/** A module of one function, `run`, that returns 2. */
const MODULE = Buffer.from(
  '0061736d010000000105016000017f030201000707010372756e00000a0601040041020b',
  'hex',
).toString('base64')
const PAUSE_MS = 4
const SATURATE_MS = 2_000
const SPAWNS = 15

/** Each figure is one job from the library's door to its outcome, record included. */
async function measure(assembly: Assembly, rounds: number, flags: Globals): Promise<Report> {
  const { newJob } = await import('../job.ts')
  const who = { tenant: 'default', principal: 'bench', origin: 'cli' } as const
  const { signal } = new AbortController()
  const ends: { pool: string; took: number }[] = []
  const one = async (other: Omit<JobRequest, 'code'> & { readonly code?: string } = {}) => {
    const job = newJob({ code: CODE, input: 1, ...other }, who, assembly.clock)
    const began = performance.now()
    const outcome = await assembly.run(job, { signal })
    if (outcome.status !== 'ok')
      throw new Error(`the job ended ${outcome.status}: ${outcome.error?.message}`)
    ends.push({ pool: outcome.metrics.pool, took: performance.now() - began })
    return performance.now() - began
  }
  note(flags, 'Measuring a job through the whole road …')
  await one()
  const pooled = await several(() => one(), rounds, PAUSE_MS)
  // Another memory limit than the spares have, so that the isolate is made on the job's time.
  const empty = await several(() => one({ limits: { memory: '96MB' } }), rounds, PAUSE_MS)
  note(flags, 'Measuring saturation …')
  ends.length = 0
  const perSecond = await rate(() => one(), os.availableParallelism(), SATURATE_MS)
  const saturated = figures(ends.map(({ took }) => took))
  const wasm = await modules(
    assembly,
    () => one({ code: MODULE, language: 'wasm', input: [] }),
    rounds,
  )
  note(flags, 'Measuring a plain process …')
  const baseline = await several(() => timed(plainNode), SPAWNS, 0)
  return {
    tiers: { isolate: { pooled, empty, saturated, ...wasm } },
    baseline: { 'node process': baseline },
    perSecond: { isolate: perSecond },
    machine: {
      cores: os.availableParallelism(),
      node: process.version,
      load: os.loadavg()[0] ?? 0,
    },
  }
}

/** Jobs that are a WebAssembly module, where there is a wall for those; the first compiles it. */
async function modules(
  assembly: Assembly,
  one: () => Promise<number>,
  rounds: number,
): Promise<Readonly<Record<string, Figures>>> {
  const all = await assembly.providers()
  const isThere = all.some(
    ({ provider, availability }) => provider.languages.includes('wasm') && availability.available,
  )
  if (!isThere) return {}
  await one()
  return { wasm: await several(one, rounds, PAUSE_MS) }
}

async function several(
  work: () => Promise<number>,
  rounds: number,
  pauseMs: number,
): Promise<Figures> {
  const samples: number[] = []
  for (let round = 0; round < rounds; round++) {
    samples.push(await work())
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
  return figures(samples)
}

async function plainNode(): Promise<void> {
  const child = spawn(process.execPath, ['-e', '1 + 1'], { stdio: 'ignore' })
  await once(child, 'close')
}

function print(report: Report): void {
  const rows = Object.entries(report.tiers).flatMap(([tier, kinds]) =>
    Object.entries(kinds).map(([kind, { p50, p99, n }]) =>
      [`${tier}, ${kind}`, p50, p99, n].map(String),
    ),
  )
  const base = Object.entries(report.baseline).map(([name, { p50, p99, n }]) =>
    [name, p50, p99, n].map(String),
  )
  process.stdout.write(`${table([['', 'p50 ms', 'p99 ms', 'runs'], ...rows, ...base])}\n`)
  for (const [tier, count] of Object.entries(report.perSecond))
    process.stdout.write(`${tier}: ${count} a second\n`)
}
