import type { ProvedProvider } from '../assemble.ts'
import type { ProviderRow } from '../contract/answers.ts'

/** What `providers --json` and `GET /v1/providers` show of each. */
export function providerRows(proved: readonly ProvedProvider[]): readonly ProviderRow[] {
  return proved.map(({ provider, availability }) => ({
    name: provider.name,
    tier: provider.tier,
    strength: availability.available ? availability.strength : 0,
    available: availability.available,
    ...(!availability.available && { reason: availability.reason, fix: availability.fix }),
    controls: provider.enforces,
    tightens: provider.tightens,
    can: provider.can,
    ...(availability.available && availability.features && { features: availability.features }),
  }))
}
