import type { ProgramZone, Split } from '../../contract/zones.ts'

/** What each zone of one instance called in its earlier runs. */
export type Past = ReadonlyMap<string, ReadonlySet<string>>

/** Whose zones: an instance by the name that its owner gave it, and its code, so that other code has no past. */
export interface Instance {
  readonly tenant: string
  readonly id: string
  readonly code: string
}

/** What is remembered of instances. */
export interface ZoneHistory {
  get(instance: Instance): Past | undefined
  /** What a run of it called; of a run that did not end well nothing is learned. */
  learn(instance: Instance, called: Past): void
}

const instancesMax = 1000

/** In memory, for as long as this process lives; the least recently used is forgotten. */
export function createZoneHistory(): ZoneHistory {
  const known = new Map<string, Past>()
  const keyOf = ({ tenant, id, code }: Instance) => JSON.stringify([tenant, id, code])
  return {
    get: (instance) => known.get(keyOf(instance)),
    learn(instance, called) {
      const key = keyOf(instance)
      // The first run that ended well is the measure: a later one cannot widen it.
      const first = known.get(key) ?? called
      known.delete(key)
      known.set(key, first)
      for (const oldest of known.keys()) {
        if (known.size <= instancesMax) return
        known.delete(oldest)
      }
    },
  }
}

/** The same zones with no capability but those that were used before. It only ever takes away. */
export function narrowed(split: Split, past: Past): Split {
  const asBefore = (zone: ProgramZone): ProgramZone => {
    const used = past.get(zone.name)
    if (!used) return zone
    const { capabilities } = zone
    const all = capabilities === 'any' ? [...used].sort() : capabilities
    return { ...zone, capabilities: all.filter((name) => used.has(name)) }
  }
  return { ...split, zones: split.zones.map(asBefore) }
}
