import type { Config } from '../contract/config.ts'
import { unlimited } from '../contract/controls.ts'
import type { FieldReason, Profile } from '../contract/profile.ts'
import { plainScoreMax, type Verdict } from '../contract/verdict.ts'

type ProfileLimits = Profile['limits']

export interface RestrainedLimits {
  readonly limits: ProfileLimits
  /** Bytes per second; `unlimited` if not configured. */
  readonly io: number
  readonly explain: readonly FieldReason[]
}

/** Below this share a program makes no progress. */
const CPU_MIN = 0.05

/** Reduces limits by risk, with a reason for each reduction. */
export function restrainLimits(
  { limits, explain }: Pick<RestrainedLimits, 'limits' | 'explain'>,
  { restraint }: Pick<Config, 'restraint'>,
  risk: number,
): RestrainedLimits {
  const step = restraint.findLast(({ at }) => at <= risk)
  if (!step) return { limits, io: unlimited, explain: [...explain, unrestrained] }
  const why = `restraint.${step.at}, risk ${risk}`
  const less = {
    cpu: Math.min(limits.cpu, Math.max(CPU_MIN, rounded(limits.cpu * step.cpu))),
    // 0 would mean no limit to a mount and to programs of walls.
    memory: Math.max(1, Math.floor(limits.memory * step.memory)),
    processes: Math.max(1, Math.floor(limits.processes * step.processes)),
  }
  return {
    limits: { ...limits, ...less },
    io: step.io ?? unlimited,
    explain: [...explain.map((row) => lessened(row, less, step, why)), explainIo(step.io, why)],
  }
}

/**
 * Risk without that of unread packages: those require a stronger wall, but restrain resources no more than plain code.
 */
export function restraintRisk({ risk, findings }: Verdict): number {
  if (!findings.some(({ name }) => name === 'UNREAD_DEPENDENCY')) return risk
  const others = findings.filter(
    ({ name, kind }) => kind === 'threat' && name !== 'UNREAD_DEPENDENCY',
  )
  return Math.max(Math.min(risk, plainScoreMax), ...others.map(({ score }) => score))
}

type Share = 'cpu' | 'memory' | 'processes'

function lessened(
  row: FieldReason,
  less: Readonly<Record<Share, number>>,
  step: Readonly<Record<Share, number>>,
  why: string,
): FieldReason {
  const name = row.field.replace('limits.', '') as Share
  if (!Object.hasOwn(less, name) || less[name] === row.value) return row
  return {
    ...row,
    value: less[name],
    because: `${row.because}, then ${step[name]} of it (${why})`,
  }
}

const unrestrained: FieldReason = { field: 'controls.io', value: 'unlimited', because: 'default' }

function explainIo(io: number | undefined, because: string): FieldReason {
  return io === undefined ? unrestrained : { field: 'controls.io', value: io, because }
}

function rounded(cores: number): number {
  return Math.round(cores * 1000) / 1000
}
