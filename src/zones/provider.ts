import type { Provider } from '../contract/provider.ts'
import { withChannel } from './grant.ts'
import { ZonedSandbox } from './zoned-sandbox.ts'

/** Provider that runs the zones of a JavaScript program in separate walls. */
export function withZones(provider: Provider): Provider {
  return {
    ...provider,
    can: [...provider.can, 'zones'],
    async launch(profile, clock) {
      const launch = (one: typeof profile) => provider.launch(one, clock)
      const inner = await launch(withChannel(profile))
      return new ZonedSandbox({ inner, profile, launch, clock })
    },
  }
}
