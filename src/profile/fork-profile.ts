import assert from 'node:assert/strict'
import { isWithin, meet } from '../contract/controls.ts'
import type { ForkParent } from '../contract/fork-parent.ts'
import { lengthOf } from '../contract/phase.ts'
import type { Profile } from '../contract/profile.ts'
import { canonicalJson } from '../lib/canonical-json.ts'
import { sha256 } from '../lib/hash.ts'

/**
 * Profile of a child of a fork: the wall of its parent, and the stricter of the parent's bounds and of those planned for the child. Phases
 * are those that the parent has left, so that a child has no right that its parent will have lost.
 *
 * Classes of system calls are closed inside the guest, and were open when it was saved if they were closed since. The controls of the
 * profile therefore have files and calls as the parent's wall began with, and each phase has those in force: as in any life, the first
 * phase closes the difference before the release.
 *
 * Throws AssertionError where a child would be wider than its parent.
 */
export function forkProfile(parent: ForkParent, planned: Profile): Profile {
  const { digest: _digest, explain, ...kept } = parent.profile
  const inForce = meet(parent.controls, planned.controls)
  const { files, syscalls } = parent.profile.controls
  const controls = { ...inForce, files, syscalls }
  const phases = parent.phases.map((phase) => ({
    ...phase,
    controls: meet(phase.controls, inForce),
  }))
  const limits = lesserLimits(parent.profile.limits, planned.limits, lengthOf(phases))
  const { privateHosts = [] } = kept
  const described = {
    ...kept,
    controls,
    privateHosts: privateHosts.filter((host) => planned.privateHosts?.includes(host)),
    schedule: { ...kept.schedule, phases },
    limits,
  }
  assert(
    isWithin(controls, parent.profile.controls) &&
      phases.every((phase) => isWithin(phase.controls, parent.controls)),
    'a child of a fork is wider than its parent',
  )
  const because = `the stricter of what was asked and of the bounds of "${parent.id}", which was forked`
  return {
    ...described,
    digest: `sha256:${sha256(canonicalJson(described))}`,
    explain: [...explain, { field: 'fork', value: parent.id, because }],
  }
}

function lesserLimits(
  { instructions, cpuTime, ...own }: Profile['limits'],
  asked: Profile['limits'],
  lifeMs: number,
): Profile['limits'] {
  const names = Object.keys(own) as (keyof typeof own)[]
  const lesser = Object.fromEntries(names.map((name) => [name, Math.min(own[name], asked[name])]))
  const timeout = Math.max(1, Math.min(own.timeout, asked.timeout, lifeMs))
  return {
    ...(lesser as typeof own),
    timeout,
    ...((cpuTime ?? asked.cpuTime) !== undefined && {
      cpuTime: Math.min(cpuTime ?? Infinity, asked.cpuTime ?? Infinity),
    }),
    ...(instructions !== undefined && { instructions }),
  }
}
