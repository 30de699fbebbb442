import type { PastCalls, ProgramZone, ZoneSplit, ZoneInstance } from '../contract/zones.ts'

/** Key in the baseline store; the prefix `instance:` separates it from effects and images. */
export function historySubject({ tenant, id, code }: ZoneInstance) {
  return { tenant, name: `instance:${id}`, code }
}

/** Limits zones to the capabilities they used in earlier runs. Never adds any. */
export function limitToHistory(split: ZoneSplit, past: PastCalls): ZoneSplit {
  const asBefore = (zone: ProgramZone): ProgramZone => {
    const used = past.get(zone.name)
    if (!used) return zone
    const { capabilities } = zone
    const all = capabilities === 'any' ? [...used].sort() : capabilities
    return { ...zone, capabilities: all.filter((name) => used.has(name)) }
  }
  return { ...split, zones: split.zones.map(asBefore) }
}
