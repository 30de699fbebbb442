import { anomalySeverities, type Anomaly } from '../contract/anomaly.ts'
import type { Clock } from '../contract/clock.ts'
import type { Config } from '../contract/config.ts'
import { messageOf } from '../contract/error.ts'
import type { Emitter } from '../contract/event.ts'
import type { Profile } from '../contract/profile.ts'
import { type Strength, strengthOf } from '../contract/tier.ts'
import type { RaisedFloorStore } from './raised-floors.ts'
import { type AnomalyAction, fullLimits, react, type ReactionLimits } from './react.ts'

export interface ReactionParts {
  readonly clock: Clock
  readonly emitter: Emitter
  readonly config: () => Pick<Config, 'anomalies' | 'webhooks'>
  readonly stronger: () => RaisedFloorStore
  /** Sends webhooks. */
  readonly notify?: ((told: { tenant: string; run: string; anomaly: Anomaly }) => void) | undefined
}

/** Life that an anomaly was found in. */
export interface ReactingLife {
  readonly tenant: string
  /** Digest of the code that runs, or ran last; undefined for a shell, and in a session before its first exec or terminal. */
  code: string | undefined
  readonly profile: Profile
  /** Decision of the capture rate limit, made once per life. */
  capture: boolean | undefined
}

/** Executes the actions of `react`, except reactions on the life itself, which the supervisor applies. */
export function createReactions(parts: ReactionParts) {
  let reactions: ReactionLimits = fullLimits

  return (run: string, life: ReactingLife, anomaly: Anomaly, behaviorScore: number): void => {
    const rules = reactionRules(life.profile, parts.config())
    const { tenant, code = '' } = life
    const turn = react(reactions, anomaly, rules, { tenant, code }, parts.clock.now())
    reactions = turn.reactions
    if (rules.onAnomaly[anomaly.severity] === 'capture')
      life.capture ??= turn.actions.some((one) => one.kind === 'life' && one.reaction === 'capture')
    for (const action of turn.actions) execute(action, run, life, behaviorScore, parts)
  }
}

function reactionRules(
  { schedule }: Profile,
  { anomalies, webhooks }: Pick<Config, 'anomalies' | 'webhooks'>,
) {
  const { stronger_from, stronger_for } = anomalies
  return {
    onAnomaly: schedule.onAnomaly,
    webhookFrom: anomalySeverities.find((word) => webhooks.some(({ from }) => from === word)),
    strongerFrom: stronger_from === 'never' ? undefined : stronger_from,
    strongerForMs: stronger_for,
  }
}

function execute(
  action: AnomalyAction,
  run: string,
  { tenant, code, profile }: ReactingLife,
  behaviorScore: number,
  { clock, emitter, stronger, notify }: ReactionParts,
): void {
  const say = (fields: Record<string, unknown>) =>
    emitter.emit('anomaly/reacted', fields, { run, actor: 'temporal' })
  if (action.kind === 'record' && action.left) say({ reaction: action.left, left: 'too often' })
  if (action.kind === 'webhook') notify?.({ tenant, run, anomaly: action.anomaly })
  if (action.kind !== 'stronger' || code === undefined) return
  const strength = Math.min(5, Math.max(profile.floor, strengthOf[profile.tier]) + 1) as Strength
  const until = clock.date() + action.forMs
  const because = `${action.because} (behavior ${behaviorScore})`
  try {
    stronger().raise({ tenant, code }, { strength, until, because })
    say({ reaction: 'stronger', strength, until })
  } catch (thrown) {
    say({ reaction: 'stronger', left: messageOf(thrown) })
  }
}
