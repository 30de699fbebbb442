import type { Provider } from '../contract/provider.ts'
import { withChannel } from './grant.ts'
import { ZonedSandbox } from './zoned-sandbox.ts'

/** Provider that runs the zones of a JavaScript program in separate walls. */
export function withZones(provider: Provider): Provider {
  return {
    ...provider,
    can: [...provider.can, 'zones'],
    async launch(profile, clock, hints) {
      const launch = (one: typeof profile) => provider.launch(one, clock)
      const inner = await provider.launch(withChannel(profile), clock, hints)
      return new ZonedSandbox({ inner, profile, launch, clock })
    },
  }
}
