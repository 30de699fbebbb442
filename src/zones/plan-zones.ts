import { meet, type Controls } from '../contract/controls.ts'
import { lengthOf } from '../contract/phase.ts'
import type { Profile } from '../contract/profile.ts'
import type { Analysis, PatternName, Verdict } from '../contract/verdict.ts'
import type {
  PastCalls,
  ProgramZone,
  RiskAnalysis,
  RiskArea,
  ZoneSplit,
  TemporalZone,
} from '../contract/zones.ts'
import { chooseZones } from './choose-zones.ts'
import { zoneGrant, zoneSchedule } from './grant.ts'

/** Risk areas of a source: functions by kind, and findings. */
export function riskAnalysis(analysis: Extract<Analysis, { kind: 'verdict' }>): RiskAnalysis {
  const { verdict, split = { zones: [], residual: [], calls: [] } } = analysis
  const { threatScore, risk, severity } = verdict
  const zones = split.zones.map((zone) => ({ ...zone, why: 'it can be a zone' }))
  const functions = [...zones, ...split.residual].map(
    ({ kind, line, endLine, name, why }): RiskArea => {
      return { area: kind, line, endLine, name, because: why }
    },
  )
  const areas = [...functions, ...findings(verdict)].sort((a, b) => a.line - b.line)
  return { threatScore, risk, severity, areas, split }
}

const areaOf: Partial<Record<PatternName, string>> = {
  FILESYSTEM: 'files',
  NETWORK: 'network',
  CHILD_PROCESS: 'exec',
  PROCESS_ACCESS: 'process',
  EVAL: 'eval',
  VM_ESCAPE: 'eval',
}

function findings({ findings: found }: Verdict): readonly RiskArea[] {
  return found.map(({ name, line, count, description }) => ({
    area: areaOf[name] ?? name.toLowerCase().replaceAll('_', '-'),
    line,
    endLine: line,
    because: count > 1 ? `${description} (${count} times)` : description,
  }))
}

/** Zones of a program under this profile, `main` first; capabilities unused in earlier runs are not granted. */
export function planZones(
  profile: Profile,
  split: ZoneSplit,
  {
    execution = null,
    past,
  }: { readonly execution?: string | null; readonly past?: PastCalls | undefined } = {},
): readonly TemporalZone[] {
  const { zones, calls } = chooseZones(split, profile.schedule)
  const whole = Math.min(lengthOf(profile.schedule.phases), profile.limits.timeout)
  const main: TemporalZone = {
    id: 'main',
    execution,
    kind: 'main',
    lifespan: whole,
    phases: below(profile.schedule.phases, profile.controls),
    controls: profile.controls,
    mayCall: calls,
    because: 'the whole',
  }
  const planned = (zone: ProgramZone): TemporalZone => {
    const controls = zoneGrant(profile, zone)
    const { phases } = zoneSchedule(profile, zone)
    const { name, kind, line, endLine } = zone
    return {
      id: name,
      execution,
      kind,
      line,
      endLine,
      lifespan: Math.min(lengthOf(phases), whole),
      phases: below(phases, controls),
      controls,
      mayCall: zone.calls,
      because: past?.has(name) ? 'history' : `schedule "${profile.schedule.name}"`,
    }
  }
  return [main, ...zones.map(planned)]
}

function below(phases: Profile['schedule']['phases'], limit: Controls) {
  let controls = limit
  return phases.map((phase) => {
    controls = meet(controls, phase.controls)
    return { name: phase.name, for: phase.for, controls }
  })
}
