import type { Control } from '../../src/contract/controls.ts'
import type { Language } from '../../src/contract/job.ts'
import type { Ability, Provider } from '../../src/contract/provider.ts'
import type { GuestName, Guests } from './guests.ts'
import type { Stand } from './stand.ts'

/** One promise of the provider contract, and the guest that tries to break it. */
export interface Case {
  /** A sentence that can stand in the table of a wall. */
  readonly title: string
  readonly needs: readonly Need[]
  /** May answer why there was nothing to try after all. */
  run(stand: Stand): Promise<void | string>
}

/** The cases about one thing. */
export interface Chapter {
  readonly name: string
  readonly cases: readonly Case[]
}

/** What a provider has to declare for a case to be about it. */
export type Need =
  /** Its guest is written in this language alone. */
  | { readonly language: Language }
  /** Its guest is one of those that every language can have. */
  | { readonly guest: GuestName }
  /** The guest's code is really run: a mock keeps the life cycle, and computes nothing. */
  | { readonly code: true }
  | { readonly enforces: Control }
  | { readonly tightens: Control }
  | { readonly can: Ability }
  /** For what happens only where something is missing: a clear refusal in place of an ability. */
  | { readonly cannot: Ability }

export const code: Need = { code: true }

/** Why a case is not about this provider, in words of what it declares; undefined when it is. */
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
