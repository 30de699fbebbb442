import type { VulnerabilitySeverity } from '../contract/vulnerability.ts'

/** Weights of the base metrics of CVSS 3.0 and 3.1; `PR` has a second set of weights for a changed scope. */
const weights: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  AV: { N: 0.85, A: 0.62, L: 0.55, P: 0.2 },
  AC: { L: 0.77, H: 0.44 },
  PR: { N: 0.85, L: 0.62, H: 0.27 },
  UI: { N: 0.85, R: 0.62 },
  C: { H: 0.56, L: 0.22, N: 0 },
  I: { H: 0.56, L: 0.22, N: 0 },
  A: { H: 0.56, L: 0.22, N: 0 },
}
const changedPrivileges: Readonly<Record<string, number>> = { N: 0.85, L: 0.68, H: 0.5 }

/** Base score of a CVSS 3.0 or 3.1 vector, by section 7.1 of its specification; undefined for another text. */
export function cvssScore(vector: string): number | undefined {
  if (vector.length > 200 || !/^CVSS:3\.[01]\//.test(vector)) return undefined
  const [, ...parts] = vector.split('/')
  const metrics = new Map(parts.map((part) => part.split(':', 2) as [string, string]))
  const scope = metrics.get('S')
  if (scope !== 'U' && scope !== 'C') return undefined
  const values = Object.entries(weights).map(([name, table]) => {
    const word = metrics.get(name) ?? ''
    return name === 'PR' && scope === 'C' ? changedPrivileges[word] : table[word]
  })
  if (values.some((one) => one === undefined)) return undefined
  const [av = 0, ac = 0, pr = 0, ui = 0, c = 0, i = 0, a = 0] = values
  const base = 1 - (1 - c) * (1 - i) * (1 - a)
  const impact = scope === 'U' ? 6.42 * base : 7.52 * (base - 0.029) - 3.25 * (base - 0.02) ** 15
  if (impact <= 0) return 0
  const sum = impact + 8.22 * av * ac * pr * ui
  return roundUp(Math.min(scope === 'U' ? sum : 1.08 * sum, 10))
}

/** Qualitative rating of a score; a score of 0 is negligible. */
export function ratingOf(score: number): VulnerabilitySeverity {
  if (score === 0) return 'negligible'
  if (score < 4) return 'low'
  if (score < 7) return 'medium'
  return score < 9 ? 'high' : 'critical'
}

/**
 * `Roundup` of the specification: smallest number with one decimal that is not below the value; in units of 0.00001,
 * so that float errors do not count.
 */
function roundUp(value: number): number {
  const whole = Math.round(value * 100_000)
  return whole % 10_000 === 0 ? whole / 100_000 : (Math.floor(whole / 10_000) + 1) / 10
}
