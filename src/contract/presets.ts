import policy from '../../policies/schedules.json' with { type: 'json' }
import { configSchema, type ScheduleConfig } from './config.ts'
import { deepFreeze } from '../lib/deep-freeze.ts'

export type PresetName = keyof typeof policy.schedules
export const presetNames = Object.keys(policy.schedules) as [PresetName, ...PresetName[]]

/** A built-in schedule, and the hosts it grants to visitors of the demo page. */
export interface Preset {
  readonly schedule: ScheduleConfig
  readonly network: readonly string[]
}

let parsed: Readonly<Record<string, Preset>> | undefined

/** All presets by name; parsed lazily, because most runs use none. */
export function presets(): Readonly<Record<string, Preset>> {
  return (parsed ??= deepFreeze(parsePresets()))
}

function parsePresets(): Record<string, Preset> {
  const { schedules } = configSchema.parse({
    schedules: Object.fromEntries(
      presetNames.map((name) => [name, policy.schedules[name].schedule]),
    ),
  })
  return Object.fromEntries(
    presetNames.map((name) => [
      name,
      { schedule: schedules[name]!, network: policy.schedules[name].network },
    ]),
  )
}
