import type { Control } from '../../src/contract/controls.ts'
import type { Language } from '../../src/contract/job.ts'
import type { Ability, Provider } from '../../src/contract/provider.ts'
import type { GuestName, Guests } from './guests.ts'
import type { Stand } from './stand.ts'

/** A promise of the provider contract, and the guest that tries to break it. */
export interface Case {
  /** Sentence for the public table of a wall. */
  readonly title: string
  readonly needs: readonly Need[]
  /** May return the reason why there was nothing to test. */
  run(stand: Stand): Promise<void | string>
}

/** Cases about one subject. */
export interface Chapter {
  readonly name: string
  readonly cases: readonly Case[]
}

/** Declarations of a provider that a case requires. */
export type Need =
  /** Guest written in this language only. */
  | { readonly language: Language }
  /** Guest available in every language. */
  | { readonly guest: GuestName }
  /** Runs guest code: a mock has only the life cycle. */
  | { readonly code: true }
  | { readonly enforces: Control }
  | { readonly tightens: Control }
  | { readonly can: Ability }
  /** Requires the absence of an ability: tests a clear refusal. */
  | { readonly cannot: Ability }

export const code: Need = { code: true }

/** Reason why a case does not apply to this provider, in terms of its declarations; undefined if it applies. */
export function reasonToSkip(
  provider: Provider,
  needs: readonly Need[],
  guests: Guests,
): string | undefined {
  return needs.map((need) => lacking(provider, need, guests)).find((reason) => reason !== undefined)
}

type Declared = Pick<Provider, 'tier' | 'languages' | 'enforces' | 'tightens' | 'can'>

function lacking(provider: Declared, need: Need, guests: Guests): string | undefined {
  if ('guest' in need)
    return unless(guests[need.guest] !== undefined, `brings no guest that ${need.guest}`)
  if ('language' in need)
    return unless(provider.languages.includes(need.language), `does not run ${need.language}`)
  if ('code' in need)
    return unless(provider.tier !== 'mock', 'runs no code: it answers from a script')
  if ('enforces' in need)
    return unless(provider.enforces.includes(need.enforces), `does not enforce ${need.enforces}`)
  if ('tightens' in need)
    return unless(
      provider.tightens.includes(need.tightens),
      `does not close ${need.tightens} while a guest runs`,
    )
  if ('can' in need) return unless(provider.can.includes(need.can), `has no ability "${need.can}"`)
  return unless(!provider.can.includes(need.cannot), `has the ability "${need.cannot}"`)
}

function unless(holds: boolean, reason: string): string | undefined {
  return holds ? undefined : reason
}
