import type { Language } from '../contract/job.ts'
import type { ProvedProvider } from '../contract/provider.ts'
import { strengthOf } from '../contract/tier.ts'

/** Languages for a reader, in the order of use. */
const words: readonly (readonly [word: string, languages: readonly Language[]])[] = [
  ['JavaScript', ['js', 'ts']],
  ['Python', ['python']],
  ['Node', ['node']],
  ['shell', ['sh', 'bash']],
  ['WebAssembly', ['wasm']],
]

/** Trial that a wall did not hold. */
export interface BrokenPromise {
  readonly wall: string
  readonly trial: string
}

/**
 * Verdict on a machine in one line: what can run, the strongest wall, and what is below its promise. `trials`: number of trials
 * made, of `providers` none.
 */
export function wallsVerdict(
  proved: readonly ProvedProvider[],
  broken: readonly BrokenPromise[] = [],
  trials?: number,
): string {
  const walls = proved.filter(isWall)
  const strongest = walls.toSorted((a, b) => strengthIn(b) - strengthIn(a))[0]
  if (!strongest) return 'not ready: no wall is available, so every job ends "unavailable"'
  const runs = ([, languages]: (typeof words)[number]) => languages.some((one) => isRun(one, walls))
  const named = (some: readonly (typeof words)[number][]) => some.map(([word]) => word).join(', ')
  const none = named(words.filter((one) => !runs(one)))
  const parts = [
    `${broken.length > 0 ? 'not safe' : 'ready'}: ${named(words.filter(runs))}`,
    ...(none === '' ? [] : [`none for ${none}`]),
    `strongest wall ${strongest.provider.name} (strength ${strengthIn(strongest)})`,
    ...(trials === undefined ? [] : [promiseText(broken, trials)]),
  ]
  return parts.join('; ')
}

function promiseText(broken: readonly BrokenPromise[], trials: number): string {
  if (broken.length === 0) return `nothing below its promise in ${trials} trials`
  const named = broken.map(({ wall, trial }) => `${wall} (${trial})`)
  return `below its promise: ${named.join(', ')}`
}

/** True for an available provider that walls code in: the mock runs none. */
export function isWall({ provider, availability }: ProvedProvider): boolean {
  return availability.available && strengthOf[provider.tier] > 0
}

function isRun(language: Language, walls: readonly ProvedProvider[]): boolean {
  return walls.some(
    ({ provider, availability }) =>
      provider.languages.includes(language) &&
      !(
        availability.available && availability.missing.some((one) => one.startsWith(`${language}:`))
      ),
  )
}

function strengthIn({ availability }: ProvedProvider): number {
  return availability.available ? availability.strength : 0
}
