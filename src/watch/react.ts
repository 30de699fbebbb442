import { type AnomalySeverity, type Anomaly, isAtLeast } from '../contract/anomaly.ts'
import type { Reaction, Schedule } from '../contract/phase.ts'
import { type TokenBuckets, fullBuckets, type BucketRates, takeToken } from './token-buckets.ts'

/**
 * Decides reactions to anomalies, as values; the caller executes them. No action restores a right.
 *
 * Guests can trigger reactions, so each one that affects others is rate-limited by tenant and code. Ending or
 * tightening the guest's own life affects nobody else and is never limited; a capture over the limit becomes an end
 * without one, with a record.
 */
export type AnomalyAction =
  | {
      readonly kind: 'record'
      readonly anomaly: Anomaly
      readonly left?: LimitedReaction | undefined
    }
  /** Reaction on the life itself; the schedule cannot be loosened. */
  | {
      readonly kind: 'life'
      readonly zone: string
      readonly reaction: Exclude<Reaction, 'record'>
      readonly reason: string
    }
  | { readonly kind: 'webhook'; readonly anomaly: Anomaly }
  /** Raises the floor for later runs of this code for `forMs`. */
  | { readonly kind: 'stronger'; readonly forMs: number; readonly because: string }

export type LimitedReaction = 'capture' | 'webhook' | 'stronger'

export interface ReactionRules {
  readonly onAnomaly: Schedule['onAnomaly']
  /** Minimum severity for webhooks and for a raised floor; undefined: never. */
  readonly webhookFrom?: AnomalySeverity | undefined
  readonly strongerFrom?: AnomalySeverity | undefined
  readonly strongerForMs: number
}

/** Remaining allowances. */
export type ReactionLimits = Readonly<Record<LimitedReaction, TokenBuckets>>

export const fullLimits: ReactionLimits = {
  capture: fullBuckets,
  webhook: fullBuckets,
  stronger: fullBuckets,
}

const minute = 60_000

/** Cost of each: a capture freezes a wall and uses disk, a webhook costs attention, a raised floor a more expensive wall. */
export const rates: Readonly<Record<LimitedReaction, BucketRates>> = {
  capture: { tenant: { burst: 5, everyMs: 12 * minute }, code: { burst: 1, everyMs: 10 * minute } },
  webhook: { tenant: { burst: 60, everyMs: 1000 }, code: { burst: 10, everyMs: 6000 } },
  stronger: { tenant: { burst: 100, everyMs: minute }, code: { burst: 2, everyMs: 10 * minute } },
}

/** Actions for an anomaly, and the remaining allowances. `at` is monotonic. */
export function react(
  reactions: ReactionLimits,
  anomaly: Anomaly,
  rules: ReactionRules,
  who: { readonly tenant: string; readonly code: string },
  at: number,
): { readonly reactions: ReactionLimits; readonly actions: readonly AnomalyAction[] } {
  let allowances = reactions
  const may = (what: LimitedReaction, one = who) => {
    const { allowance, taken } = takeToken(allowances[what], one, rates[what], at)
    allowances = { ...allowances, [what]: allowance }
    return taken
  }
  const actions: AnomalyAction[] = [{ kind: 'record', anomaly }]
  const limited = (left: LimitedReaction) => void actions.push({ kind: 'record', anomaly, left })
  const { zone, severity, reason } = anomaly
  const wanted = rules.onAnomaly[severity]
  if (wanted === 'capture' && !may('capture')) {
    limited('capture')
    actions.push({ kind: 'life', zone, reaction: 'terminate', reason })
  } else if (wanted !== 'record') actions.push({ kind: 'life', zone, reaction: wanted, reason })
  if (rules.webhookFrom && isAtLeast(severity, rules.webhookFrom)) {
    // Buckets for each severity, or milder anomalies would suppress the report of a worse one.
    if (may('webhook', { ...who, tenant: `${severity} ${who.tenant}` }))
      actions.push({ kind: 'webhook', anomaly })
    else limited('webhook')
  }
  if (rules.strongerFrom && isAtLeast(severity, rules.strongerFrom) && isTrusted(anomaly)) {
    const because = `an earlier run: ${reason}`
    if (may('stronger')) actions.push({ kind: 'stronger', forMs: rules.strongerForMs, because })
    else limited('stronger')
  }
  return { reactions: allowances, actions }
}

/** Claims of the guest itself cannot cause a more expensive wall. */
function isTrusted({ trust }: Anomaly): boolean {
  return trust !== 'guest'
}
