import type { Clock } from '../../contract/clock.ts'
import { isProduction } from '../../contract/config.ts'
import { controlNames } from '../../contract/controls.ts'
import { MayflyError } from '../../contract/error.ts'
import { languages } from '../../contract/job.ts'
import type { Profile } from '../../contract/profile.ts'
import type { Availability, Provider } from '../../contract/provider.ts'
import { MockSandbox } from './sandbox.ts'
import { echo, type Faults, type Script } from './script.ts'

export interface MockOptions {
  readonly script?: Script
  readonly faults?: Faults
  /** Seed of the default script's random waits. */
  readonly seed?: number
  /** Like MAYFLY_ENV: if either names production there is no mock. */
  readonly environment?: string
}

/**
 * A provider that runs no code: it plays a script, and keeps the contract as strictly as a real wall. It declares every
 * control as enforced, because a script cannot break one. Strength 0; selected only by its name.
 */
export function createMockProvider(options: MockOptions = {}): Provider {
  const { script = echo(options.seed), faults = {} } = options
  return {
    name: 'mock',
    tier: 'mock',
    languages,
    enforces: controlNames,
    tightens: controlNames,
    can: ['files', 'modules', 'artifacts', 'stdin', 'batch'],
    detect: () => Promise.resolve(availability(options.environment)),
    async launch(profile: Profile, clock: Clock) {
      const found = availability(options.environment)
      if (!found.available) throw new MayflyError('UNAVAILABLE', found.reason, { hint: found.fix })
      return new MockSandbox({ profile, clock, script, faults })
    },
  }
}

function availability(environment?: string): Availability {
  const names = [environment, process.env['MAYFLY_ENV']]
  if (!names.some((name = '') => isProduction({ environment: name }))) {
    return { available: true, strength: 0, layers: [], missing: ['a wall: it runs no code at all'] }
  }
  return {
    available: false,
    code: 'MOCK_IN_PRODUCTION',
    reason: 'Cannot use provider "mock" in production: its answers are made up',
    fix: 'Choose another provider, or set MAYFLY_ENV to something else than "production"',
  }
}
