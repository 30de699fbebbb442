import { spawn } from 'node:child_process'
import { once } from 'node:events'
import os from 'node:os'
import type { Command } from 'commander'
import type { Assembly } from '../assemble/assemble.ts'
import { figures, rate, timed, type Figures } from '../lib/measure.ts'
import { measurePrograms, several, type BenchRequest, type BenchFigures } from './bench-programs.ts'
import { wholeNumber } from './option-values.ts'
import { note, printJson, printText, table, type Globals } from './print.ts'
import { unlessStopped } from './stop-signal.ts'

export function register(program: Command): void {
  program
    .command('bench')
    .description('measure each available wall and a plain process in one run')
    .option(
      '--rounds <n>',
      'runs of each; default: 200, and 15 for programs and plain processes',
      wholeNumber(ROUNDS_MAX),
    )
    .action(async (_own, command: Command) => {
      const flags = command.optsWithGlobals<Globals & { rounds?: number }>()
      const { openAssembly } = await import('./open-assembly.ts')

      await using opened = await openAssembly(flags, 'library')
      const report = await unlessStopped(measure(opened.assembly, flags.rounds, flags))
      if (!report) return
      if (flags.json) printJson(report)
      else print(report)
    })
}

interface Report {
  /** Figures by wall; for programs, by language. */
  readonly tiers: {
    readonly isolate: BenchFigures
    readonly process?: Readonly<Record<string, BenchFigures>>
  }
  readonly baseline: BenchFigures
  readonly perSecond: Readonly<Record<string, number>>
  readonly machine: { readonly cores: number; readonly node: string; readonly load: number }
}

const CODE = 'return input + 1'
/** Module with one function, `run`, that returns 2. */
const MODULE = Buffer.from(
  '0061736d010000000105016000017f030201000707010372756e00000a0601040041020b',
  'hex',
).toString('base64')
const ROUNDS = 200
const ROUNDS_MAX = 100_000
const PAUSE_MS = 4
const SATURATE_MS = 2_000
const SPAWNS = 15

/** Each figure is one job from the library call to its outcome, audit lines included. */
async function measure(
  assembly: Assembly,
  asked: number | undefined,
  flags: Globals,
): Promise<Report> {
  const rounds = asked ?? ROUNDS
  const { newJob } = await import('../job.ts')
  const who = { tenant: 'default', principal: 'bench', origin: 'cli' } as const
  const { signal } = new AbortController()
  const ends: number[] = []
  const one = async (other: BenchRequest = {}) => {
    const job = newJob({ code: CODE, input: 1, ...other }, who, assembly.clock)
    const began = performance.now()
    const outcome = await assembly.run(job, { signal })
    if (outcome.status !== 'ok')
      throw new Error(`the job ended ${outcome.status}: ${outcome.error?.message}`)
    const took = performance.now() - began
    ends.push(took)
    return { took, pool: outcome.metrics.pool, provider: outcome.provider }
  }
  const tookOf = async (other?: Parameters<typeof one>[0]) => (await one(other)).took
  note(flags, 'Measuring a job through the whole pipeline …')
  await one()
  const pooled = await jobFigures(() => tookOf(), rounds)
  // Uses a memory limit that no spare has, so that the isolate starts within the job's time.
  const empty = await jobFigures(() => tookOf({ limits: { memory: '96MB' } }), rounds)
  note(flags, 'Measuring saturation …')
  ends.length = 0
  const perSecond = await rate(() => one(), os.availableParallelism(), SATURATE_MS)
  const saturated = figures(ends)
  const wasm = await modules(
    assembly,
    () => tookOf({ code: MODULE, language: 'wasm', input: [] }),
    rounds,
  )
  note(flags, 'Measuring a plain process …')
  const spawns = asked ?? SPAWNS
  const baseline = await plainly(process.execPath, '-e', spawns)
  note(flags, 'Measuring programs …')
  const programs = await measurePrograms(assembly, one, asked)
  const pythonProcess = programs.tiers.python && {
    'python process': await plainly('/usr/bin/python3', '-c', spawns),
  }
  const isProcess = Object.keys(programs.tiers).length > 0
  return {
    tiers: {
      isolate: { pooled, empty, saturated, ...wasm },
      ...(isProcess && { process: programs.tiers }),
    },
    baseline: { 'node process': baseline, ...pythonProcess },
    perSecond: { isolate: perSecond, ...programs.perSecond },
    machine: {
      cores: os.availableParallelism(),
      node: process.version,
      load: os.loadavg()[0] ?? 0,
    },
  }
}

/** Measures WebAssembly jobs if a wall runs them; the first one compiles the module. */
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
  return { wasm: await jobFigures(one, rounds) }
}

async function jobFigures(work: () => Promise<number>, rounds: number): Promise<Figures> {
  return figures(await several(rounds, work, PAUSE_MS))
}

/** Start and exit of a bare interpreter, as baseline. */
async function plainly(interpreter: string, flag: string, rounds: number): Promise<Figures> {
  const start = () => once(spawn(interpreter, [flag, '1 + 1'], { stdio: 'ignore' }), 'close')
  return figures(await several(rounds, () => timed(start)))
}

function print(report: Report): void {
  const { isolate, process: programs = {} } = report.tiers
  const rows = Object.entries({ isolate, ...programs }).flatMap(([tier, kinds]) =>
    Object.entries(kinds).map(([kind, { p50, p99, n }]) =>
      [`${tier}, ${kind}`, p50, p99, n].map(String),
    ),
  )
  const base = Object.entries(report.baseline).map(([name, { p50, p99, n }]) =>
    [name, p50, p99, n].map(String),
  )
  printText(table([['', 'p50 ms', 'p99 ms', 'runs'], ...rows, ...base]))
  for (const [tier, count] of Object.entries(report.perSecond))
    printText(`${tier}: ${count} a second`)
}
