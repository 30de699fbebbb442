import type { Clock } from '../contract/clock.ts'
import { controlNames } from '../contract/controls.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import { languages } from '../contract/job.ts'
import type { Profile } from '../contract/profile.ts'
import type { Availability, Provider } from '../contract/provider.ts'
import { strengthOf, tierName } from '../contract/tier.ts'
import { MicroVMSandbox } from './microvm-sandbox.ts'
import type { MicroVMProvider } from './microvm-contract.ts'

const nameOf = ({ name }: MicroVMProvider): string => (typeof name === 'function' ? name() : name)
const members = ['isAvailable', 'initialize', 'execute', 'cleanup'] as const

/**
 * Adapts a custom provider to the Provider interface as `custom:NAME`; selected only by that name. Throws
 * MayflyError INVALID for a malformed provider.
 */
export function adapt(custom: MicroVMProvider): Provider {
  const own = checkedName(custom)
  const { tier = 'isolate' } = custom
  let detected: Promise<Availability> | undefined
  let isInitialised = false

  async function detect(): Promise<Availability> {
    try {
      if (!(await custom.isAvailable())) return notThere(own, 'it says that it is not available')
      await custom.initialize()
      isInitialised = true
      return {
        available: true,
        strength: strengthOf[tier],
        layers: ['what its author says'],
        missing: ['a proof: Mayfly did not make this wall and has not tried it'],
      }
    } catch (thrown) {
      return notThere(own, messageOf(thrown))
    }
  }

  return {
    name: `custom:${own}`,
    tier,
    languages,
    enforces: controlNames,
    tightens: [],
    can: ['network', 'folders', 'folder-calls', 'files'],
    isByNameAlone: true,
    detect: () => (detected ??= detect()),
    async launch(profile: Profile, clock: Clock) {
      if (isInitialised) return new MicroVMSandbox({ custom, profile, clock })
      throw new MayflyError('UNAVAILABLE', `Cannot use provider "${own}": it was cleaned up`)
    },
    async close() {
      if (!isInitialised) return
      isInitialised = false
      await custom.cleanup()
    },
  }
}

function checkedName(custom: MicroVMProvider): string {
  const isOne = members.every((member) => typeof custom[member] === 'function')
  const name = isOne ? nameOf(custom) : ''
  if (isOne && typeof name === 'string' && /^[A-Za-z0-9][A-Za-z0-9._-]{0,50}$/.test(name)) {
    if (custom.tier === undefined || tierName.safeParse(custom.tier).success) return name
  }
  throw new MayflyError(
    'INVALID',
    `Cannot register the provider: expected name, ${members.join(', ')}, and perhaps a tier`,
  )
}

function notThere(name: string, why: string): Availability {
  return {
    available: false,
    code: 'CUSTOM_UNAVAILABLE',
    reason: `Cannot use provider "${name}": ${why}`,
    fix: 'Ask its author',
  }
}
