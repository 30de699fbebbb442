import { allControls, type Control, type Controls } from './contract/controls.ts'
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

/** Profiles of a session if it were opened now: as it was, and for the code of an exec. */
export interface Reopened {
  readonly plain: Pick<Profile, 'controls' | 'schedule'>
  readonly own: Pick<Profile, 'controls' | 'schedule'>
}

/** Phase with which the code of an exec begins, if its session is in an earlier one. */
export function laterBegin(
  { plain, own }: Reopened,
  { schedule }: Pick<Profile, 'schedule'>,
  now: string,
): string | undefined {
  const [begins, usual] = [own.schedule.phases[0]!.name, plain.schedule.phases[0]!.name]
  const names = schedule.phases.map(({ name }) => name)
  return begins !== usual && names.indexOf(begins) > names.indexOf(now) ? begins : undefined
}

const amounts = ['cpu', 'memory', 'processes', 'io'] as const

/** Controls with the amounts that the risk of an exec leaves to its session; undefined if it has no more. */
export function restrainedTo(
  { plain, own }: Reopened,
  now: Controls,
  tightens: readonly Control[],
): Controls | undefined {
  const less = amounts.filter((name) => {
    const value = own.controls[name]
    return value < plain.controls[name] && value < now[name] && tightens.includes(name)
  })
  if (less.length === 0) return undefined
  return { ...allControls, ...Object.fromEntries(less.map((name) => [name, own.controls[name]])) }
}
