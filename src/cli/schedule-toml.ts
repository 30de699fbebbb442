import type { PhaseConfig, ScheduleConfig } from '../contract/config.ts'
import { allControls, meet, unlimited, type Controls } from '../contract/controls.ts'
import { cumulativeControls } from '../profile/meet-schedules.ts'
import { terminalJson } from './print.ts'

/** Lines of a schedule, in the notation of the configuration, that allows `used` at most, in each phase of the one it replaces. */
export function scheduleToml(
  used: Controls,
  {
    replaced,
    timeoutMs,
  }: { readonly replaced: ScheduleConfig | undefined; readonly timeoutMs: number },
): readonly string[] {
  if (!replaced) return [`phases = [${tomlOfValue(onlyPhase(used, timeoutMs))}]`]
  const { phases: _, for_origins: _origins, for_capabilities: _bound, zones, ...rest } = replaced
  const within = phasesWithin(replaced, used)
  const phases = within.map((phase) => `  ${tomlOfValue(writtenPhase(phase))},`)
  const granted = { ...allControls, ...within[0]?.controls }
  const hasZones = Object.keys(zones).length > 0
  const given = { ...rest, ...(hasZones && { zones: zonesWithin(zones, granted) }) }
  return [
    'phases = [',
    ...phases,
    ']',
    ...entriesOf(given).map(([key, value]) => `${key} = ${tomlOfValue(value)}`),
  ]
}

type Written = Readonly<Record<string, unknown>>

function onlyPhase(used: Controls, timeoutMs: number): Written {
  return { name: 'used', for: timeoutMs, ...writtenControls({ ...used, cpu: unlimited }) }
}

/** The phases of a schedule as they are written: none with more than `used`, or than the one before it. */
function phasesWithin(schedule: ScheduleConfig, used: Controls): readonly PhaseConfig[] {
  const rights = cumulativeControls(schedule)
  let before = allControls
  return schedule.phases.map((phase, place) => {
    const most = meet(rights[place]!, before)
    const controls = meet(most, { ...used, cpu: unlimited })
    before = { ...controls, network: withoutPartlyDenied(controls.network, most.network) }
    return { ...phase, controls: before }
  })
}

/** A phase is written with either `allow` or `deny`: a host of which `most` denies a part is left out. */
function withoutPartlyDenied(
  network: Controls['network'],
  most: Controls['network'],
): Controls['network'] {
  const { allow } = network
  if (allow === 'any') return network
  const isWhole = (host: string) => {
    const own = { ...allControls, network: { allow: [host], deny: [] } }
    return meet(own, { ...allControls, network: most }).network.deny.length === 0
  }
  return { ...network, allow: allow.filter(isWhole), deny: [] }
}

/** The zones of a schedule whose first phase is written with the controls `granted`. */
function zonesWithin(zones: ScheduleConfig['zones'], granted: Controls): Written {
  const written = Object.entries(zones).map(([name, zone]) => {
    let before = granted
    const phases = zone.phases.map((phase) => {
      const controls = controlsWithin(phase.controls, before)
      before = { ...before, ...controls }
      return writtenPhase({ ...phase, controls })
    })
    return [name, { ...zone, phases }]
  })
  return Object.fromEntries(written) as Written
}

/** Named controls, none above `most`; omitted ones are inherited. */
function controlsWithin(named: Partial<Controls>, most: Controls): Partial<Controls> {
  const met = meet({ ...most, ...named }, most)
  const within = { ...met, network: withoutPartlyDenied(met.network, met.network) }
  return Object.fromEntries(Object.entries(within).filter(([name]) => Object.hasOwn(named, name)))
}

function writtenPhase({ name, for: ms, controls, ...conditions }: PhaseConfig): Written {
  return { name, for: ms, ...writtenControls(controls), ...conditions }
}

/** Controls in user notation; those without a limit are left out. */
function writtenControls({ network, files, ...others }: Partial<Controls>): Written {
  const isAll = files && JSON.stringify(files) === JSON.stringify(allControls.files)
  const limited = Object.entries(others)
    .filter(([, value]) => value !== 'any' && value !== unlimited)
    .map(([name, value]) => [name, Array.isArray(value) && value.length === 0 ? 'none' : value])
  return {
    ...(network && { network: writtenNetwork(network) }),
    ...(files && !isAll && { files }),
    ...(Object.fromEntries(limited) as Written),
  }
}

function writtenNetwork({ allow, deny, sent, received }: Controls['network']): unknown {
  if (allow.length === 0) return 'none'
  if (allow === 'any' && deny.length === 0 && sent === undefined && received === undefined)
    return 'open'
  return { ...(allow === 'any' ? { deny } : { allow }), sent, received }
}

/** A value as inline TOML, safe to print. JSON escapes are valid in a basic string of TOML. */
export function tomlOfValue(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(tomlOfValue).join(', ')}]`
  if (typeof value !== 'object' || value === null) return terminalJson(value)
  const entries = entriesOf(value).map(([key, one]) => `${key} = ${tomlOfValue(one)}`)
  return `{ ${entries.join(', ')} }`
}

function entriesOf(value: object): readonly (readonly [key: string, value: unknown])[] {
  return Object.entries(value)
    .filter(([, one]) => one !== undefined)
    .map(([key, one]) => [/^[\w-]+$/.test(key) ? key : terminalJson(key), one])
}
