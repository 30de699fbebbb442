import { allControls, noFiles, noNetwork } from '../contract/controls.ts'
import type { Profile } from '../contract/profile.ts'
import type { Provider } from '../contract/provider.ts'

/** Fields in which profiles of Mayfly's own guests differ. */
export type OwnProfile = Pick<Profile, 'language' | 'entry' | 'floor' | 'image' | 'tenant'> & {
  readonly controls?: Partial<Profile['controls']>
  readonly limits: Profile['limits']
}

/** Profile of a guest of Mayfly's own, which is granted nothing: one phase, with output that no gate holds back. */
export function ownProfile({ name, tier }: Provider, purpose: string, own: OwnProfile): Profile {
  const { memory, timeout } = own.limits
  const granted = { network: noNetwork, files: noFiles, capabilities: [], memory }
  const controls = { ...allControls, ...granted, ...own.controls }
  return {
    ...own,
    format: 1,
    provider: name,
    tier,
    controls,
    schedule: {
      name: purpose,
      phases: [{ name: 'full', for: timeout, controls }],
      onAnomaly: { low: 'record', medium: 'terminate', high: 'terminate' },
      shorten: 1,
    },
    output: { gate: 'stream' },
    capture: false,
    digest: purpose,
    explain: [],
  }
}
