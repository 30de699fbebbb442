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
  const phases = phasesWithin(replaced, used).map((phase) => `  ${tomlOfValue(phase)},`)
  const given = { ...rest, ...(Object.keys(zones).length > 0 && { zones: zonesOf(zones) }) }
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

/** The phases of a schedule, none with more than `used`. */
function phasesWithin(schedule: ScheduleConfig, used: Controls): readonly Written[] {
  const rights = cumulativeControls(schedule)
  return schedule.phases.map((phase, place) => {
    const most = rights[place]!
    const controls = meet(most, { ...used, cpu: unlimited })
    const network = withoutPartlyDenied(controls.network, most.network)
    return writtenPhase({ ...phase, controls: { ...controls, network } })
  })
}

/** A phase is written with either `allow` or `deny`: a host of which it denies a part is left out. */
function withoutPartlyDenied(
  network: Controls['network'],
  most: Controls['network'],
): Controls['network'] {
  const { allow } = network
  if (allow === 'any' || most.deny.length === 0) return network
  const isWhole = (host: string) => {
    const own = { ...allControls, network: { allow: [host], deny: [] } }
    return meet(own, { ...allControls, network: most }).network.deny.length === 0
  }
  return { ...network, allow: allow.filter(isWhole) }
}

/** Zones as they are: their phases are within those of the whole in any case. */
function zonesOf(zones: ScheduleConfig['zones']): Written {
  const written = Object.entries(zones).map(([name, zone]) => [
    name,
    { ...zone, phases: zone.phases.map(writtenPhase) },
  ])
  return Object.fromEntries(written) as Written
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
