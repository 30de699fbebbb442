import policy from '../../policies/anomalies.json' with { type: 'json' }

export type ThresholdName = keyof typeof policy.thresholds
export type Thresholds = Readonly<Record<ThresholdName, number>>

export const thresholdNames = Object.keys(policy.thresholds) as readonly ThresholdName[]

export const defaultThresholds = Object.fromEntries(
  thresholdNames.map((name) => [name, policy.thresholds[name].value]),
) as Thresholds

/**
 * Thresholds with overrides. Each may only become stricter, so that no configuration weakens a
 * detector. Throws RangeError with the expected value for an unknown name or a weaker value.
 */
export function stricterThresholds(changes: Readonly<Record<string, number>>): Thresholds {
  for (const [name, value] of Object.entries(changes)) {
    const why = whyNotStricter(name, value)
    if (why) throw new RangeError(why)
  }
  return { ...defaultThresholds, ...changes }
}

/** Expected value for a refused change; undefined if the change is allowed. */
export function whyNotStricter(name: string, value: number): string | undefined {
  if (!Object.hasOwn(policy.thresholds, name))
    return `expected the name of a threshold, not "${name}"`
  const { value: usual, stricter } = policy.thresholds[name as ThresholdName]
  const isStricter = stricter === 'less' ? value <= usual : value >= usual
  if (Number.isFinite(value) && value > 0 && isStricter) return undefined
  return stricter === 'less'
    ? `expected at most ${usual}, and above 0`
    : `expected at least ${usual}`
}
