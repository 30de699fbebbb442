import type { Config, ScheduleConfig } from '../contract/config.ts'
import { allControls, type Controls, meet } from '../contract/controls.ts'
import { MayflyError } from '../contract/error.ts'
import type { Phase, Schedule } from '../contract/phase.ts'

export interface ScheduleWanted {
  /** The name asked for; without one, `default`. */
  readonly name: string | undefined
  readonly config: Config
  /** What the life starts with. */
  readonly granted: Controls
  readonly timeoutMs: number
}

/**
 * The schedule of that name, each phase at what the one before it had met with what it names. Without a configured
 * one, a life is one phase as long as the timeout. Throws MayflyError INVALID for a name that nobody configured.
 */
export function scheduleFor(wanted: ScheduleWanted): {
  readonly schedule: Schedule
  readonly because: string
} {
  const name = wanted.name ?? 'default'
  const { schedules } = wanted.config
  const found = Object.hasOwn(schedules, name) ? schedules[name] : undefined
  if (found) return { schedule: laidOut(name, found, wanted.granted), because: `schedules.${name}` }
  if (name === 'default') return { schedule: oneLife(wanted), because: 'default' }
  throw new MayflyError('INVALID', `Cannot find the schedule "${name}"`, {
    details: { field: 'schedule', known: Object.keys(schedules).sort() },
    hint: 'Name one that the configuration has under [schedules]',
  })
}

function laidOut(name: string, found: ScheduleConfig, granted: Controls): Schedule {
  const phases: Phase[] = []
  let before = granted
  for (const phase of found.phases) {
    before = meet(before, { ...allControls, ...phase.controls })
    phases.push({ name: phase.name, for: phase.for, controls: before })
  }
  return { name, phases, onAnomaly: found.on_anomaly, shorten: found.shorten }
}

/** With one phase there is nothing to advance to, so a medium anomaly is recorded. */
function oneLife({ granted, timeoutMs }: ScheduleWanted): Schedule {
  return {
    name: 'default',
    phases: [{ name: 'full', for: timeoutMs, controls: granted }],
    onAnomaly: { low: 'record', medium: 'record', high: 'terminate' },
    shorten: 0.5,
  }
}
