import { meet, noFiles, noNetwork, type Controls } from '../contract/controls.ts'
import type { ZoneSchedule } from '../contract/phase.ts'
import type { Profile } from '../contract/profile.ts'
import type { ProgramZone, ZoneSplit } from '../contract/zones.ts'
import { chooseZones } from './choose.ts'
import { channelCapability } from './exchange.ts'

/** What a zone may do: what the whole may, what its own schedule begins with, and of that only what it was seen to use. */
export function grantOf(profile: Profile, zone: ProgramZone): Controls {
  const { controls } = profile
  const own = scheduleOf(profile, zone).phases[0]!.controls
  const both = meet(controls, own)
  const { capabilities } = meet(both, { ...both, capabilities: zone.capabilities })
  return {
    ...both,
    files: noFiles,
    network: zone.network ? both.network : noNetwork,
    capabilities,
  }
}

/**
 * The wall of a zone: its own limits. Who supervises it ends its life, which counts from the release of the whole; its
 * wall, which stands before that, does so by itself only if nobody did.
 */
export function profileOf(profile: Profile, zone: ProgramZone): Profile {
  const { schedule, limits } = profile
  const phases = schedule.phases.map((phase) => ({ ...phase, for: phase.for + slackMs }))
  return withChannel({
    ...profile,
    controls: grantOf(profile, zone),
    schedule: { ...schedule, phases },
    limits: { ...limits, timeout: limits.timeout + slackMs },
  })
}

/** What its zones take beside the wall of the whole. */
export function besideOf(
  profile: Profile,
  split: ZoneSplit,
): { readonly walls: number; readonly memory: number } {
  const { zones } = chooseZones(split, profile.schedule)
  const memory = zones.reduce((sum, zone) => sum + grantOf(profile, zone).memory, 0)
  return { walls: zones.length, memory }
}

const slackMs = 10_000

/** A wall whose guest can be reached by channels: the zones of a program are made once it is known. */
export function withChannel(profile: Profile): Profile {
  return { ...profile, controls: withChannelOpen(profile.controls) }
}

export function withChannelOpen(controls: Controls): Controls {
  const { capabilities } = controls
  if (capabilities === 'any' || capabilities.includes(channelCapability)) return controls
  return { ...controls, capabilities: [...capabilities, channelCapability].sort() }
}

/** As others know them: channels are nothing that anybody was granted. */
export function withoutChannel(controls: Controls): Controls {
  const { capabilities } = controls
  if (capabilities === 'any') return controls
  return { ...controls, capabilities: capabilities.filter((name) => name !== channelCapability) }
}

/** That of its kind; without one it lives as the whole does. */
export function scheduleOf({ schedule }: Profile, { kind }: ProgramZone): ZoneSchedule {
  const { zones = {} } = schedule
  return Object.hasOwn(zones, kind) ? zones[kind]! : schedule
}
