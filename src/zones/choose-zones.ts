import type { Schedule } from '../contract/phase.ts'
import type { ProgramZone, ZoneSplit, ZonesMade } from '../contract/zones.ts'

/** Limit of zones beside `main`; each has a worker process. */
export const zonesAtOnce = 4

/**
 * Chooses the zones of the kinds that the schedule names. A zone that calls a function left in `main` stays in `main`
 * too.
 */
export function chooseZones(split: ZoneSplit, schedule: Pick<Schedule, 'zones'>): ZoneSplit {
  const isNamed = (zone: ProgramZone) => zoneNameIn(schedule, zone) !== undefined
  // Functions with a policy by name come first: others must not take their places.
  const isByName = (zone: ProgramZone) => zoneNameIn(schedule, zone) !== zone.kind
  let zones = split.zones
    .filter(isNamed)
    .toSorted((a, b) => Number(isByName(b)) - Number(isByName(a)))
  const why = new Map(
    split.zones
      .filter((zone) => !isNamed(zone))
      .map(({ name, kind }) => [name, `its schedule has no zone of the kind "${kind}"`]),
  )
  for (const { name } of zones.slice(zonesAtOnce))
    why.set(name, `a program gets ${zonesAtOnce} zones at once`)
  zones = zones.slice(0, zonesAtOnce)
  for (;;) {
    const names = new Set(zones.map(({ name }) => name))
    const stays = zones.find(({ calls }) => calls.some((to) => !names.has(to)))
    if (!stays) break
    why.set(stays.name, 'it calls a zone that stays')
    zones = zones.filter((zone) => zone !== stays)
  }
  const stayed = split.zones.filter((zone) => !zones.includes(zone))
  const called = new Set([...split.calls, ...stayed.flatMap(({ calls }) => calls)])
  const left = stayed.map(({ name, kind, line, endLine }) => {
    return { name, kind, line, endLine, why: why.get(name)! }
  })
  return {
    zones,
    calls: zones.map(({ name }) => name).filter((name) => called.has(name)),
    residual: [...split.residual, ...left],
  }
}

/** Name of a zone's schedule: the name of its function, else its kind; undefined if the schedule has neither. */
export function zoneNameIn(
  { zones = {} }: Pick<Schedule, 'zones'>,
  { name, kind }: Pick<ProgramZone, 'name' | 'kind'>,
): string | undefined {
  const byName = Object.keys(zones).find((one) => zones[one]!.functions?.includes(name))
  return byName ?? (Object.hasOwn(zones, kind) ? kind : undefined)
}

/** Zones as reported in the outcome. */
export function summarizeZones(
  { zones, residual }: ZoneSplit,
  callersOf: (zone: string) => Readonly<Record<string, number>>,
): ZonesMade {
  const made = zones.map(({ name, kind, line, endLine }) => {
    const callers = callersOf(name)
    const calls = Object.values(callers).reduce((sum, count) => sum + count, 0)
    return { name, kind, line, endLine, calls, callers }
  })
  return { made, residual }
}
