import type { Config, Override } from '../contract/config.ts'

/** Current values of the settings that may change at run time. Contains no key and no path. */
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
