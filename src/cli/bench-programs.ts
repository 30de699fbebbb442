import os from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Assembly } from '../assemble/assemble.ts'
import type { JobRequest } from '../contract/job.ts'
import { figures, rate, type Figures } from '../lib/measure.ts'

/** Fewer rounds than for isolates, because programs start more slowly. */
const ROUNDS_DEFAULT = 15
const saturateMs = 1_000
/** Timeout for a spare to become ready. */
const spareMsMax = 3_000

const programs = {
  node: { language: 'node', code: 'export default (input) => input + 1' },
  python: { language: 'python', code: 'def main(input): return input + 1' },
} as const
type Language = keyof typeof programs

export type BenchFigures = Readonly<Record<string, Figures>>

export interface ProgramFigures {
  readonly tiers: Readonly<Partial<Record<Language, BenchFigures>>>
  readonly perSecond: Readonly<Partial<Record<Language, number>>>
}

interface BenchSample {
  readonly took: number
  readonly pool: string
  readonly provider: string | undefined
}

/** Job request whose code is optional. */
export type BenchRequest = Omit<JobRequest, 'code'> & { readonly code?: string }

/** Runs one job through the pipeline. Throws unless it ends ok. */
export type RunOne = (asked: BenchRequest) => Promise<BenchSample>

/**
 * Measures programs behind the process wall, by language. `pooled` jobs got a spare, `empty` ones had to start their
 * wall; figures without samples are omitted.
 */
export async function measurePrograms(
  assembly: Pick<Assembly, 'providers' | 'stock'>,
  run: RunOne,
  rounds: number | undefined,
): Promise<ProgramFigures> {
  const tiers: Partial<Record<Language, BenchFigures>> = {}
  const perSecond: Partial<Record<Language, number>> = {}
  for (const language of await languagesOf(assembly)) {
    const one = (more: BenchRequest = {}) =>
      run({ ...programs[language], input: 1, tier: 'process', ...more })
    const { kinds, rate: each } = await measureOne(
      assembly,
      one,
      language,
      rounds ?? ROUNDS_DEFAULT,
    )
    tiers[language] = benchOf(kinds)
    perSecond[language] = each
  }
  return { tiers, perSecond }
}

async function measureOne(
  assembly: Pick<Assembly, 'stock'>,
  one: (more?: BenchRequest) => Promise<BenchSample>,
  language: Language,
  times: number,
) {
  const key = `${(await one()).provider}/${language}`
  const pooled = await several(times, async () => {
    await spareOf(assembly, key)
    return one()
  })
  // Uses a scratch size that no spare has, so that the wall starts within the job's time.
  const empty = await several(times, () => one({ limits: { disk: '32MB' } }))
  const { all, perSecond } = await saturate(one)
  const kinds = {
    pooled: pooled.filter(({ pool }) => pool === 'hit'),
    empty: empty.filter(({ pool }) => pool !== 'hit'),
    saturated: all,
  }
  return { kinds, rate: perSecond }
}

async function languagesOf({
  providers,
}: Pick<Assembly, 'providers'>): Promise<readonly Language[]> {
  const all = (await providers()).filter(
    ({ provider, availability }) => provider.tier === 'process' && availability.available,
  )
  const served = new Set(all.flatMap(({ provider }) => provider.languages))
  return (Object.keys(programs) as Language[]).filter((language) => served.has(language))
}

/** Waits for a ready spare, and until no other is starting, which would take processor time. */
async function spareOf({ stock }: Pick<Assembly, 'stock'>, key: string): Promise<void> {
  const until = performance.now() + spareMsMax
  const isReady = () => {
    const { facts } = stock
    return (
      facts.every(({ starting }) => starting === 0) &&
      facts.some((one) => one.key === key && one.idle > 0)
    )
  }
  while (!isReady() && performance.now() < until) await sleep(2)
}

export async function several<T>(
  times: number,
  work: () => Promise<T>,
  pauseMs = 0,
): Promise<readonly T[]> {
  const all: T[] = []
  for (let round = 0; round < times; round++) {
    all.push(await work())
    await sleep(pauseMs)
  }
  return all
}

async function saturate(one: () => Promise<BenchSample>) {
  const all: BenchSample[] = []
  const work = async () => void all.push(await one())
  const perSecond = await rate(work, os.availableParallelism(), saturateMs)
  return { all, perSecond }
}

function benchOf(kinds: Readonly<Record<string, readonly BenchSample[]>>): BenchFigures {
  const measured = Object.entries(kinds).filter(([, all]) => all.length > 0)
  return Object.fromEntries(
    measured.map(([kind, all]) => [kind, figures(all.map(({ took }) => took))]),
  )
}
