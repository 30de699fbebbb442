import { capabilityName } from '../contract/capability.ts'
import type { ConfigValues } from '../contract/config.ts'
import { askable, hostCall } from '../contract/job.ts'
import { fault, type Fault } from './fault.ts'
import type { KeyPath } from './positions.ts'
import { nearestName } from './variables.ts'

type Capabilities = Pick<ConfigValues, 'capability_configs' | 'schedules'>

const known: readonly string[] = [...askable, hostCall]

/** Finds names that no capability can have, such as one that ends with a space: what is set for them applies to no call. */
export function* capabilityFaults(values: Capabilities): Generator<Fault> {
  for (const { name, path } of namesIn(values))
    if (!capabilityName.safeParse(name).success)
      yield fault(path, `expected the name of a capability, not ${JSON.stringify(name)}`)
}

/** Finds names that are probably those of built-in capabilities, misspelt; an application may have added one of that name. */
export function* capabilityWarnings(values: Capabilities): Generator<Fault> {
  for (const { name, path } of namesIn(values)) {
    const near = known.includes(name) ? undefined : nearestName(name, known)
    if (near !== undefined)
      yield fault(path, `no built-in capability has the name "${name}"; did you mean "${near}"?`)
  }
}

function* namesIn({
  capability_configs,
  schedules,
}: Capabilities): Generator<{ readonly name: string; readonly path: KeyPath }> {
  for (const name of Object.keys(capability_configs))
    yield { name, path: ['capability_configs', name] }
  for (const [schedule, { for_capabilities }] of Object.entries(schedules))
    for (const [index, name] of for_capabilities.entries())
      yield { name, path: ['schedules', schedule, 'for_capabilities', index] }
}
