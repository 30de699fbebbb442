import { type AnomalySeverity, type Anomaly, isAtLeast } from '../contract/anomaly.ts'
import type { Reaction, Schedule } from '../contract/phase.ts'
import { type Allowance, noAllowance, type Rates, take } from './allowance.ts'

/**
 * What is done about an anomaly, as values; whoever has the wall, the stores and the wire carries it out. Nothing here
 * gives a right back: an action either tells somebody or takes something away.
 *
 * A reaction is also something that a guest can cause, so each that costs anybody else something is counted, by
 * tenant and by code. Ending or tightening the guest's own life costs nobody else anything and is never refused; a
 * capture that is refused becomes an end without one, and a line that says so.
 */
export type Action =
  | { readonly kind: 'record'; readonly anomaly: Anomaly; readonly left?: Limited | undefined }
  /** To the schedule of the life, which does not loosen. */
  | {
      readonly kind: 'life'
      readonly zone: string
      readonly reaction: Exclude<Reaction, 'record'>
      readonly reason: string
    }
  | { readonly kind: 'webhook'; readonly anomaly: Anomaly }
  /** The next runs of this code get a stronger wall, until `forMs` are over. */
  | { readonly kind: 'stronger'; readonly forMs: number; readonly because: string }

export type Limited = 'capture' | 'webhook' | 'stronger'

export interface Rules {
  readonly onAnomaly: Schedule['onAnomaly']
  /** From which severity on somebody is told, and the next runs get a stronger wall; undefined: never. */
  readonly webhookFrom?: AnomalySeverity | undefined
  readonly strongerFrom?: AnomalySeverity | undefined
  readonly strongerForMs: number
}

export interface Reactions {
  readonly allowances: Readonly<Record<Limited, Allowance>>
}

export const noReactions: Reactions = {
  allowances: { capture: noAllowance, webhook: noAllowance, stronger: noAllowance },
}

const minute = 60_000

/** A capture stops a wall and fills a disk; a webhook takes somebody's attention; moving up takes a dearer wall. */
export const rates: Readonly<Record<Limited, Rates>> = {
  capture: { tenant: { burst: 5, everyMs: 12 * minute }, code: { burst: 1, everyMs: 10 * minute } },
  webhook: { tenant: { burst: 60, everyMs: 1000 }, code: { burst: 10, everyMs: 6000 } },
  stronger: { tenant: { burst: 100, everyMs: minute }, code: { burst: 2, everyMs: 10 * minute } },
}

/** What to do now about an anomaly of a run of this code, and what is left for the next. `at` never runs backwards. */
export function react(
  reactions: Reactions,
  anomaly: Anomaly,
  rules: Rules,
  who: { readonly tenant: string; readonly code: string },
  at: number,
): { readonly reactions: Reactions; readonly actions: readonly Action[] } {
  let { allowances } = reactions
  const may = (what: Limited) => {
    const { allowance, taken } = take(allowances[what], who, rates[what], at)
    allowances = { ...allowances, [what]: allowance }
    return taken
  }
  const actions: Action[] = [{ kind: 'record', anomaly }]
  const limited = (left: Limited) => void actions.push({ kind: 'record', anomaly, left })
  const { zone, severity, reason } = anomaly
  const wanted = rules.onAnomaly[severity]
  if (wanted === 'capture' && !may('capture')) {
    limited('capture')
    actions.push({ kind: 'life', zone, reaction: 'terminate', reason })
  } else if (wanted !== 'record') actions.push({ kind: 'life', zone, reaction: wanted, reason })
  if (rules.webhookFrom && isAtLeast(severity, rules.webhookFrom)) {
    if (may('webhook')) actions.push({ kind: 'webhook', anomaly })
    else limited('webhook')
  }
  if (rules.strongerFrom && isAtLeast(severity, rules.strongerFrom) && isTrusted(anomaly)) {
    const because = `an earlier run: ${reason}`
    if (may('stronger')) actions.push({ kind: 'stronger', forMs: rules.strongerForMs, because })
    else limited('stronger')
  }
  return { reactions: { allowances }, actions }
}

/** What a guest says of itself costs nobody a dearer wall. */
function isTrusted({ trust }: Anomaly): boolean {
  return trust !== 'guest'
}
