import type { Config } from '../contract/config.ts'
import { type Language, languages } from '../contract/job.ts'
import { namedTiers, type TierName } from '../contract/tier.ts'
import { chooseTier, type ProviderFacts } from './choose-tier.ts'

/**
 * True if, with the `default_provider` of `next` in place of that of `now`, code of some language at some floor gets a weaker
 * wall of these. Compares choices and not two strengths, because `auto` has none, and because a provider without the language
 * leaves the choice to `auto`. A provider that is not known counts as weaker.
 */
export function prefersWeaker(now: Config, next: Config, facts: readonly ProviderFacts[]): boolean {
  if (now.default_provider === next.default_provider) return false
  const isKnown = ({ default_provider: name }: Config) =>
    name === 'auto' || facts.some((fact) => fact.name === name)
  if (!isKnown(now) || !isKnown(next)) return true
  const floors = [undefined, ...namedTiers]
  return languages.some((language) =>
    floors.some(
      (floor) =>
        strengthTaken(next, facts, language, floor) < strengthTaken(now, facts, language, floor),
    ),
  )
}

/** Strength of the wall that such a job gets; infinite if it does not run. */
function strengthTaken(
  config: Config,
  facts: readonly ProviderFacts[],
  language: Language,
  floor: TierName | undefined,
): number {
  const { end, provider } = chooseTier(
    {
      config,
      tenant: { name: 'default' },
      asked: floor ? { floor } : {},
      verdict: { language, risk: 0, severity: 'low', findings: [] },
      abilities: [],
    },
    facts,
  )
  return end ? Infinity : facts.find(({ name }) => name === provider)!.strength
}
