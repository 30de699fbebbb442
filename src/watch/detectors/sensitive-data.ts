import policy from '../../../policies/credential-paths.json' with { type: 'json' }
import type { AnomalySeverity, Observation, ObservedFact } from '../../contract/anomaly.ts'
import { anomalySeverities, evidenceMax, isAtLeast } from '../../contract/anomaly.ts'
import { type Detector, type DetectedAnomaly, lastOf } from './detector.ts'

interface CredentialPath {
  readonly part: string
  readonly under?: string
  readonly severity: AnomalySeverity
  readonly because: string
}

const credentialPaths: readonly CredentialPath[] = policy.paths.map((one) => {
  const severity = anomalySeverities.find((word) => word === one.severity)
  if (!severity) throw new RangeError(`Cannot read the severity "${one.severity}"`)
  return { ...one, severity }
})

/**
 * Appearances of honeytokens, and opened credential files. Severity by the path's policy entry; `high` if a
 * connection follows a read of such a file.
 */
export const sensitiveData: Detector<readonly Observation[]> = {
  name: 'sensitive-data',
  first: [],
  see(state, observation, { foreseen }) {
    const { seen } = observation
    if (seen.kind === 'honeytoken') return { state, found: planted(observation, seen) }
    if (seen.kind === 'connect') return { state, found: connectAfterRead(state, observation) }
    if (seen.kind !== 'open' || foreseen.ownFiles.includes(seen.path)) return { state }
    if (seen.access === 'write' && foreseen.planted?.includes(seen.path)) return { state }
    const place = credentialPathOf(seen.path)
    if (!place) return { state }
    const found: DetectedAnomaly = {
      severity: place.severity,
      subject: place.part,
      reason: `It ${seen.denied ? 'tried to open' : 'opened'} "${seen.path}": ${place.because}`,
      evidence: [observation],
    }
    return { state: seen.denied ? state : lastOf(state, observation, evidenceMax), found }
  },
}

function planted(
  observation: Observation,
  { token, where }: Extract<ObservedFact, { kind: 'honeytoken' }>,
): DetectedAnomaly {
  const reason = `The planted secret "${token}" was seen in its ${where}`
  return { severity: 'high', subject: `${token} ${where}`, reason, evidence: [observation] }
}

function connectAfterRead(
  read: readonly Observation[],
  observation: Observation,
): DetectedAnomaly | undefined {
  const relevant = read.filter(({ seen }) => isAtLeast(severityOf(seen), 'medium'))
  if (relevant.length === 0) return undefined
  return {
    severity: 'high',
    subject: 'leaving',
    reason: 'It uses the network after it opened files with credentials',
    evidence: [...relevant, observation],
  }
}

function severityOf(seen: ObservedFact): AnomalySeverity {
  return (seen.kind === 'open' ? credentialPathOf(seen.path)?.severity : undefined) ?? 'low'
}

/** Matching policy entry with the highest severity. */
function credentialPathOf(path: string): CredentialPath | undefined {
  const fitting = credentialPaths.filter(
    ({ part, under }) => isPartOf(path, part) && (under === undefined || path.startsWith(under)),
  )
  return fitting.reduce<CredentialPath | undefined>(
    (worst, one) => (worst && isAtLeast(worst.severity, one.severity) ? worst : one),
    undefined,
  )
}

/** Matches whole names: `/.env` does not match `/.envelope`. */
function isPartOf(path: string, part: string): boolean {
  const at = path.indexOf(part)
  if (at === -1) return false
  const after = path[at + part.length]
  return /[/_-]$/.test(part) || after === undefined || !/[a-z0-9]/i.test(after)
}
