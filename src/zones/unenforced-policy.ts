import type { Language } from '../contract/job.ts'
import type { Schedule } from '../contract/phase.ts'
import type { UnheldPolicy } from '../contract/provider.ts'
import type { Analysis } from '../contract/verdict.ts'
import { residualMax } from '../contract/zone-limits.ts'
import type { ZoneSplit } from '../contract/zones.ts'

/** Reason in the split; a function that is never called needs no zone. */
const notCalled = 'nothing calls it'
/** Reasons for which a program runs in one piece. */
const wholeBecause = {
  wall: 'its wall makes no zones of functions',
  batch: 'a batch makes no zones of functions',
  session: 'a session makes no zones of functions',
} as const

/**
 * Error text if the code must not run: otherwise a function would run without its own policy. Undefined if it may run.
 * `whole`: set where no functions get zones.
 */
export function policyRefusalOf(
  split: ZoneSplit,
  { zones = {} }: Pick<Schedule, 'zones'>,
  whole?: keyof typeof wholeBecause,
): string | undefined {
  const named = functionsOf(zones)
  if (named.size === 0) return undefined
  const unmade = whole ? split.zones.map(({ name }) => ({ name, why: wholeBecause[whole] })) : []
  const stays = [...split.residual, ...unmade].find(
    ({ name, why }) => named.has(name) && why !== notCalled,
  )
  if (stays) return `Cannot hold the policy of "${stays.name}": ${stays.why}`
  // The list is truncated, so a function with a policy may be missing from it.
  const isCut = split.residual.length >= residualMax
  return isCut ? 'Cannot hold the policies of functions: the program has too many' : undefined
}

/**
 * Error text if a cell of a session must not run. Cells are never split, and a function that nothing calls here may be called by a later
 * cell.
 */
export function cellPolicyRefusalOf(
  split: ZoneSplit,
  schedule: Pick<Schedule, 'zones'>,
): string | undefined {
  const residual = split.residual.map((one) => ({ ...one, why: wholeBecause.session }))
  return policyRefusalOf({ ...split, residual }, schedule, 'session')
}

export const unreadPolicyHint =
  'Shorten the code, try again, or name a schedule without policies of functions'

/** Languages in which the analysis finds functions. */
const splitLanguages: ReadonlySet<Language> = new Set(['js', 'ts', 'node'])

/** Error text if code without a split must not run: the analysis could not read it, so that any policy of a function may be for it. */
export function unreadPolicyRefusalOf(
  analysis: Analysis,
  { zones = {} }: Pick<Schedule, 'zones'>,
): string | undefined {
  if (analysis.kind !== 'verdict' || analysis.split) return undefined
  if (!splitLanguages.has(analysis.verdict.language)) return undefined
  const isUnread = functionsOf(zones).size > 0
  return isUnread ? 'Cannot hold the policies of functions: the code could not be read' : undefined
}

function functionsOf(zones: NonNullable<Schedule['zones']>): ReadonlySet<string> {
  return new Set(Object.values(zones).flatMap(({ functions = [] }) => functions))
}

/** Policies of the schedule whose function is missing in the code, and controls that no wall can enforce for a zone. */
export function unheldPolicies(
  split: ZoneSplit | undefined,
  { zones = {}, phases }: Pick<Schedule, 'zones' | 'phases'>,
): readonly UnheldPolicy[] {
  const known = new Set(
    [...(split?.zones ?? []), ...(split?.residual ?? [])].map(({ name }) => name),
  )
  const cpu = phases[0]?.controls.cpu ?? Infinity
  return Object.entries(zones).flatMap(([kind, zone]) => {
    if (zone.programs) return []
    const absent = (zone.functions ?? []).filter((name) => !known.has(name))
    const made = split?.zones.filter((one) =>
      zone.functions ? zone.functions.includes(one.name) : one.kind === kind,
    )
    const phase = zone.phases.find(({ controls }) => controls.cpu < cpu)
    const unbound = phase ? (made ?? []) : []
    return [
      ...absent.map((name) => ({ zone: name, why: split ? noFunction : noZones })),
      ...unbound.map(({ name }) => ({ zone: name, phase: phase!.name, why: noCpu })),
    ]
  })
}

const noCpu = 'no wall of JavaScript holds "cpu" for a zone, only for the whole'
const noZones = 'the code runs in one piece, without zones of functions'
const noFunction = 'the code has no function of this name at its top'
