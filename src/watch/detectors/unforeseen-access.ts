import type { Access, ObservedFact } from '../../contract/anomaly.ts'
import type { Detector } from './detector.ts'

/**
 * A capability that was not granted, or a kind of access that analysis did not see in the code. If analysis could not
 * read the code nothing is reported; the wall's limits still hold.
 */
export const unforeseenAccess: Detector<null> = {
  name: 'unforeseen-access',
  first: null,
  see(state, observation, { foreseen }) {
    const { seen } = observation
    const evidence = [observation]
    if (seen.kind === 'capability') {
      const { capabilities } = foreseen
      if (capabilities === 'any' || capabilities.includes(seen.name)) return { state }
      const reason = `It calls the capability "${seen.name}", which was not granted`
      return {
        state,
        found: { severity: 'medium', subject: `capability ${seen.name}`, reason, evidence },
      }
    }
    const access = accessOf(seen)
    if (!access || !foreseen.access || foreseen.access.includes(access)) return { state }
    const reason = `It uses ${words[access]}, which analysis of its code did not foresee`
    return { state, found: { severity: severities[access], subject: access, reason, evidence } }
  },
}

/** Kind of access of an observation; undefined for what every program does. */
export function accessOf(seen: ObservedFact): Access | undefined {
  if (seen.kind === 'connect') return seen.part === 'closed' ? undefined : 'network'
  if (seen.kind === 'exec') return 'process'
  return seen.kind === 'open' && seen.access === 'write' ? 'files' : undefined
}

const words: Readonly<Record<Access, string>> = {
  network: 'the network',
  process: 'other programs',
  files: 'files to write',
}

/** Language runtimes write files of their own. */
const severities = { network: 'medium', process: 'medium', files: 'low' } as const
