import type { ProviderRow } from '../contract/answers.ts'
import type { Availability, ProvedProvider } from '../contract/provider.ts'
import type { WardenFacts } from '../contract/warden.ts'
import { missingOf, fixContext } from './missing-layers.ts'

type Facts = Pick<WardenFacts, 'root' | 'machine'>

/** Rows of `providers --json` and `GET /v1/providers`. */
export function providerRows(
  proved: readonly ProvedProvider[],
  facts: Facts,
): readonly ProviderRow[] {
  const where = fixContext(facts)
  return proved.map(({ provider, availability, module }) => {
    const layers = availability.available ? availability.layers : []
    const versions = versionsOf(layers, facts)
    return {
      name: provider.name,
      tier: provider.tier,
      strength: availability.available ? availability.strength : 0,
      available: availability.available,
      ...(!availability.available && reasonOf(availability)),
      layers,
      ...(versions && { versions }),
      missing: availability.available ? missingOf(availability.missing, where) : [],
      controls: provider.enforces,
      tightens: provider.tightens,
      can: provider.can,
      ...(availability.available && availability.features && { features: availability.features }),
      ...(module !== undefined && { module }),
    }
  })
}

function reasonOf({ code, reason, fix }: Extract<Availability, { available: false }>) {
  return { code, reason, fix }
}

/** Versions, named as in `doctor`. */
function versionsOf(layers: readonly string[], { machine }: Facts): ProviderRow['versions'] {
  const versions = {
    ...(layers.includes('landlock') && { landlock: machine.landlock }),
    ...(layers.includes('memory cgroup') &&
      machine.cgroups !== null && { cgroups: machine.cgroups }),
  }
  return Object.keys(versions).length > 0 ? versions : undefined
}
