import * as z from 'zod'
import { ioRate } from './units.ts'

/**
 * Reduction of a job's limits by risk: from each risk on, the share of CPU, memory and processes it
 * keeps, and its I/O in bytes a second. Slow code only takes longer, so CPU and disk shrink first;
 * too little memory would break an honest program.
 */
export interface RestraintStep {
  /** Lowest risk, 0 to 100, at which the step applies. */
  readonly at: number
  readonly cpu: number
  readonly memory: number
  readonly processes: number
  /** Bytes a second; undefined if unrestricted. */
  readonly io?: number
}

const shares = ['cpu', 'memory', 'processes'] as const
const share = z.number().gt(0).max(1)

const written = z.strictObject({
  cpu: share.optional(),
  memory: share.optional(),
  processes: share.optional(),
  io: ioRate.optional(),
})

/** The restraint when none is configured. */
export const defaultRestraint = {
  '20': { cpu: 0.75, io: '64MB' },
  '40': { cpu: 0.5, processes: 0.5, io: '32MB' },
  '60': { cpu: 0.25, memory: 0.75, processes: 0.25, io: '16MB' },
  '80': { cpu: 0.125, memory: 0.5, processes: 0.125, io: '4MB' },
} as const

/**
 * User notation: a table by risk. A step lists only its changes; none may be looser than the one
 * below it.
 */
export const restraint = z
  .record(z.string(), written)
  .transform((table, ctx): RestraintStep[] => {
    const refuse = (key: string, message: string) =>
      ctx.addIssue({ code: 'custom', path: [key], message })
    const steps: RestraintStep[] = []
    const rows = Object.entries(table).map(([key, row]) => ({ key, at: Number(key), row }))
    let before: RestraintStep = { at: 0, cpu: 1, memory: 1, processes: 1 }
    for (const { key, at, row } of rows.sort((a, b) => a.at - b.at)) {
      if (!/^\d{1,3}$/.test(key) || at > 100) refuse(key, 'expected a risk from 0 to 100')
      const given = Object.fromEntries(Object.entries(row).filter(([, v]) => v !== undefined))
      const step = { ...before, ...given, at }
      const looser = looserOf(before, step)
      if (looser) refuse(key, `expected no more ${looser} than a lower risk has`)
      steps.push(step)
      before = step
    }
    return steps
  })
  .meta({ title: 'restraint' })

function looserOf(before: RestraintStep, step: RestraintStep): string | undefined {
  if ((step.io ?? Infinity) > (before.io ?? Infinity)) return 'io'
  return shares.find((name) => step[name] > before[name])
}
