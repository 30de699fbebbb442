import type { Entry, Language } from './job.ts'
import type { Ability, Provider } from './provider.ts'
import type { TierName } from './tier.ts'

/**
 * Default export of a provider module: a provider with walls of its own, or a wall that is composed of one of
 * Mayfly's. The code of a module is trusted and runs in the server.
 */
export type ProviderModule = Provider | ComposedProvider

/** A built-in wall under another name, with fewer languages or abilities. Plain data; Mayfly launches its sandboxes. */
export interface ComposedProvider {
  readonly name: string
  /** Built-in provider that makes its sandboxes, or a tier, for its first available provider. */
  readonly on: string
  /** Tier; its strength must equal the proved one. Default: the tier of that provider. */
  readonly tier?: TierName
  /** Subsets of that provider's languages and abilities; all by default. */
  readonly languages?: readonly Language[]
  readonly can?: readonly Ability[]
  /** Selected only by a job that names it. */
  readonly isByNameAlone?: boolean
  /** A guest that must return the expected value, in addition to the probe of the underlying provider. */
  readonly probe?: ComposedProbe
}

export interface ComposedProbe {
  readonly language: Language
  readonly entry: Exclude<Entry, 'auto'>
  readonly code: string
  readonly input?: unknown
  readonly expect: unknown
}
