import { meet, noFiles, noNetwork, type Controls } from '../contract/controls.ts'
import type { ZoneSchedule } from '../contract/phase.ts'
import type { Profile } from '../contract/profile.ts'
import type { ProgramZone, ZoneSplit } from '../contract/zones.ts'
import { chooseZones, zoneNameIn } from './choose-zones.ts'
import { channelCapability } from './exchange.ts'

/**
 * Controls of a zone: the meet of the program's controls and the first phase of its schedule, limited to what
 * analysis saw it use.
 */
export function zoneGrant(profile: Profile, zone: ProgramZone): Controls {
  const { controls } = profile
  const own = zoneSchedule(profile, zone).phases[0]!.controls
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
 * Profile of a zone's wall. The supervisor ends the zone, counting from the release of the program; the wall's own
 * limit is later by a slack, as a fallback.
 */
export function zoneProfile(profile: Profile, zone: ProgramZone): Profile {
  const { schedule, limits } = profile
  const phases = schedule.phases.map((phase) => ({ ...phase, for: phase.for + slackMs }))
  return withChannel({
    ...profile,
    controls: zoneGrant(profile, zone),
    schedule: { ...schedule, phases },
    limits: { ...limits, timeout: limits.timeout + slackMs },
  })
}

/** Walls and memory that the zones take in addition to the program's own wall. */
export function zoneCosts(
  profile: Profile,
  split: ZoneSplit,
): { readonly walls: number; readonly memory: number } {
  const { zones } = chooseZones(split, profile.schedule)
  const memory = zones.reduce((sum, zone) => sum + zoneGrant(profile, zone).memory, 0)
  return { walls: zones.length, memory }
}

const slackMs = 10_000

/** Adds the channel capability; zones are known only after the wall is made. */
export function withChannel(profile: Profile): Profile {
  return { ...profile, controls: addChannelCapability(profile.controls) }
}

export function addChannelCapability(controls: Controls): Controls {
  const { capabilities } = controls
  if (capabilities === 'any' || capabilities.includes(channelCapability)) return controls
  return { ...controls, capabilities: [...capabilities, channelCapability].sort() }
}

/** Controls as shown to others: channels are no grant. */
export function removeChannelCapability(controls: Controls): Controls {
  const { capabilities } = controls
  if (capabilities === 'any') return controls
  return { ...controls, capabilities: capabilities.filter((name) => name !== channelCapability) }
}

/** Schedule of the zone's function or kind, or else the program's. */
export function zoneSchedule({ schedule }: Profile, zone: ProgramZone): ZoneSchedule {
  const name = zoneNameIn(schedule, zone)
  return (name === undefined ? undefined : schedule.zones?.[name]) ?? schedule
}
