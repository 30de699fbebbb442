import type { Config, Override } from '../contract/config.ts'

/** What of a configuration can be changed while it is in force, as it is now. Holds no key and no path. */
export function inForce(config: Config): Override {
  const { default_provider, network, escalation, limits, ceilings, sessions, tenants } = config
  return structuredClone({
    default_provider,
    network,
    escalation,
    limits,
    ceilings,
    sessions,
    tenants: Object.fromEntries(
      tenants.map(({ name, floor, ceilings }) => [name, { ...(floor && { floor }), ceilings }]),
    ),
  }) as Override
}
