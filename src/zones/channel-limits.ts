import type { ChannelRule } from '../contract/phase.ts'
import { present } from '../lib/present.ts'

/** Limits of one channel by its schedule. */
export interface ChannelLimits {
  readonly permit: boolean
  readonly calls?: number
  readonly callsPerSecond?: number
  readonly units?: number
  /** Milliseconds after the start of the run. */
  readonly closesAt?: number
}

/** Meet of all rules that match a channel, whose ends are named as in the schedule. */
export function channelLimits(
  rules: readonly ChannelRule[],
  { from, to }: { readonly from: string; readonly to: string },
): ChannelLimits {
  const matching = rules.filter(
    (rule) => [from, '*'].includes(rule.from) && [to, '*'].includes(rule.to),
  )
  const least = (key: 'calls' | 'callsPerSecond' | 'bytes' | 'for') => {
    const given = matching.flatMap((rule) => rule[key] ?? [])
    return given.length > 0 ? Math.min(...given) : undefined
  }
  return present({
    permit: matching.every(({ permit }) => permit),
    calls: least('calls'),
    callsPerSecond: least('callsPerSecond'),
    units: least('bytes'),
    closesAt: least('for'),
  })
}
