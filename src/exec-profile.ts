import type { Profile } from './contract/profile.ts'

/** Limits of each exec; all others apply to the whole sandbox. */
const ownLimits = ['timeout', 'output', 'result', 'artifacts'] as const

/** The profile of the sandbox with the limits, output contract and entry of an exec. */
export function execProfile(profile: Profile, asked: Profile): Profile {
  const isOwn = (field: string) => ownLimits.some((name) => field === `limits.${name}`)
  const { timeout, output, result, artifacts } = asked.limits
  return {
    ...profile,
    entry: asked.entry,
    output: asked.output,
    limits: { ...profile.limits, timeout, output, result, artifacts },
    explain: [
      ...profile.explain.filter(({ field }) => !isOwn(field)),
      ...asked.explain.filter(({ field }) => isOwn(field)),
    ],
  }
}
