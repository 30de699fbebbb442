import { readlinkSync } from 'node:fs'
import type { ZoneReport } from '../../../contract/warden.ts'
import type { ZoneBounds, ZoneRule } from '../../../contract/zone-rules.ts'
import { isAlive } from '../../../os/proc.ts'
import type { CpuThrottle } from '../cpu-throttle.ts'
import { belowOf } from '../../../os/process-tree.ts'
import type { ZoneMembers } from './zone-members.ts'

/** Passes over children that are still forking. */
const PASSES_MAX = 20

/** A live zone of programs, in the tree of zones of its wall. */
export interface LiveZone {
  readonly name: string
  readonly rule: ZoneRule
  readonly parent: LiveZone | undefined
  readonly depth: number
  readonly members: ZoneMembers
  readonly endsAt: number
  bounds: ZoneBounds
  throttle: CpuThrottle | undefined
  within: number
  /** Consecutive samples that found no process in it. */
  unseen: number
  peakBytes: number
  /** Cause of its end, set when its kill begins. */
  why: string | undefined
}

export function isInZone(zone: LiveZone | undefined, rule: ZoneRule): boolean {
  for (let at = zone; at; at = at.parent) if (at.rule === rule) return true
  return false
}

/** Children forked before it was found; a fork in flight is found by the next pass. */
export function addBelow({ members }: LiveZone, pid: number): void {
  const added = new Set<number>()
  for (let pass = 0; pass < PASSES_MAX; pass++) {
    const fresh = belowOf(pid).filter((one) => !added.has(one))
    if (fresh.length === 0) return
    for (const one of fresh) {
      added.add(one)
      if (isAlive(one)) members.add(one)
    }
  }
}

/** Zone whose memory limit caused an OOM kill in `zone`: the outermost that was full. Undefined if none was. */
export function fullOf(zone: LiveZone): LiveZone | undefined {
  let full: LiveZone | undefined
  for (let at: LiveZone | undefined = zone; at; at = at.parent)
    if (at.bounds.memory !== undefined && at.members.hasBeenFull()) full = at
  return full
}

export function zoneReportOf(
  { kind }: ZoneRule,
  zone: string,
  parent: string,
  { program, entered }: Pick<ZoneReport, 'program' | 'entered'>,
) {
  return { zone, kind, parent, program: program.slice(-256), entered }
}

/** Pid namespace of a process. Throws if it is gone. */
export function pidNamespaceOf(pid: number): string {
  return readlinkSync(`/proc/${pid}/ns/pid`)
}
