import type { PastCalls, ProgramZone, ZoneSplit, ZoneInstance } from '../contract/zones.ts'

/** Whose past, as baselines are kept: `instance:` keeps it apart from effects and images. */
export function subjectOf({ tenant, id, code }: ZoneInstance) {
  return { tenant, name: `instance:${id}`, code }
}

/** The same zones with no capability but those that were used before. It only ever takes away. */
export function narrowed(split: ZoneSplit, past: PastCalls): ZoneSplit {
  const asBefore = (zone: ProgramZone): ProgramZone => {
    const used = past.get(zone.name)
    if (!used) return zone
    const { capabilities } = zone
    const all = capabilities === 'any' ? [...used].sort() : capabilities
    return { ...zone, capabilities: all.filter((name) => used.has(name)) }
  }
  return { ...split, zones: split.zones.map(asBefore) }
}
