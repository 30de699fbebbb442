import os from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Assembly } from '../assemble/assemble.ts'
import type { JobRequest } from '../contract/job.ts'
import { figures, rate, type Figures } from '../lib/measure.ts'

/** A program is slower to start than an isolate, so there are fewer rounds of it. */
const roundsUnasked = 15
const saturateMs = 1_000
/** How long a spare is waited for, once one was asked for. */
const spareMsMax = 3_000

const programs = {
  node: { language: 'node', code: 'export default (input) => input + 1' },
  python: { language: 'python', code: 'def main(input): return input + 1' },
} as const
type Language = keyof typeof programs

export type Bench = Readonly<Record<string, Figures>>

export interface ProgramFigures {
  readonly tiers: Readonly<Partial<Record<Language, Bench>>>
  readonly perSecond: Readonly<Partial<Record<Language, number>>>
}

interface Told {
  readonly took: number
  readonly pool: string
  readonly provider: string | undefined
}

/** A job with its code. */
export type Asked = Omit<JobRequest, 'code'> & { readonly code?: string }

/** Runs one job down the whole road. Throws where it does not end ok. */
export type RunOne = (asked: Asked) => Promise<Told>

/**
 * Programs behind the process wall, by language. `pooled` are those that found a spare waiting, `empty` those whose wall
 * was made on their time; a figure that nothing was measured for is left out.
 */
export async function measurePrograms(
  assembly: Pick<Assembly, 'providers' | 'stock'>,
  run: RunOne,
  rounds: number | undefined,
): Promise<ProgramFigures> {
  const tiers: Partial<Record<Language, Bench>> = {}
  const perSecond: Partial<Record<Language, number>> = {}
  for (const language of await languagesOf(assembly)) {
    const one = (more: Asked = {}) =>
      run({ ...programs[language], input: 1, tier: 'process', ...more })
    const { kinds, rate: each } = await measureOne(assembly, one, language, rounds ?? roundsUnasked)
    tiers[language] = benchOf(kinds)
    perSecond[language] = each
  }
  return { tiers, perSecond }
}

async function measureOne(
  assembly: Pick<Assembly, 'stock'>,
  one: (more?: Asked) => Promise<Told>,
  language: Language,
  times: number,
) {
  const key = `${(await one()).provider}/${language}`
  const pooled = await several(times, async () => {
    await spareOf(assembly, key)
    return one()
  })
  // Another size of scratch than the spares have, so that the wall is made on the job's time.
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

/** Waits for a spare that is ready, and until none is made that would take a core meanwhile. */
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

async function several(times: number, work: () => Promise<Told>): Promise<readonly Told[]> {
  const all: Told[] = []
  for (let round = 0; round < times; round++) all.push(await work())
  return all
}

async function saturate(one: () => Promise<Told>) {
  const all: Told[] = []
  const work = async () => void all.push(await one())
  const perSecond = await rate(work, os.availableParallelism(), saturateMs)
  return { all, perSecond }
}

function benchOf(kinds: Readonly<Record<string, readonly Told[]>>): Bench {
  const measured = Object.entries(kinds).filter(([, all]) => all.length > 0)
  return Object.fromEntries(
    measured.map(([kind, all]) => [kind, figures(all.map(({ took }) => took))]),
  )
}
