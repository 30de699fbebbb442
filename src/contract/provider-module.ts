import type { Entry, Language } from './job.ts'
import type { Ability, Provider } from './provider.ts'
import type { TierName } from './tier.ts'

/**
 * Default export of a provider module: a provider with walls of its own, or a wall that is composed of one of
 * Mayfly's. The code of a module is trusted and runs in the server.
 */
export type ProviderModule = Provider | ComposedProvider

/** A wall that Mayfly has, offered under a name of its own for less. Data alone: it launches nothing by itself. */
export interface ComposedProvider {
  readonly name: string
  /** Built-in provider that makes its sandboxes, or a tier: then the first of that tier that is available. */
  readonly on: string
  /** Tier of exactly the strength that is proved; by default the tier of that provider. */
  readonly tier?: TierName
  /** Languages and abilities out of those of that provider; all by default. */
  readonly languages?: readonly Language[]
  readonly can?: readonly Ability[]
  /** Chosen only for a job that names it. */
  readonly isByNameAlone?: boolean
  /** A guest that has to answer as expected, beside the proof of the provider it is made of. */
  readonly probe?: ComposedProbe
}

export interface ComposedProbe {
  readonly language: Language
  readonly entry: Exclude<Entry, 'auto'>
  readonly code: string
  readonly input?: unknown
  readonly expect: unknown
}
