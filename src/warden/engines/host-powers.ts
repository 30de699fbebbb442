import type { EngineOptions } from '../../contract/engine.ts'
import { wallUids } from '../../contract/uids.ts'
import { openCgroups } from '../../os/cgroup.ts'
import type { CgroupRoot } from '../../os/cgroup-interface.ts'
import { mappedUids } from '../../os/proc.ts'

type Hidden = Pick<EngineOptions, 'hide' | 'without'>

/** Control groups for walls; undefined if this host has none, or the options leave them out. */
export function groupsOfHost({ hide = [], without = [] }: Hidden): CgroupRoot | undefined {
  return without.includes('memory cgroup') || hide.includes('cgroup') ? undefined : openCgroups()
}

/** True for root with a uid for each wall. */
export function hasWallUids({ hide = [] }: Hidden = {}): boolean {
  return process.getuid?.() === 0 && mappedUids() > wallUids.last && !hide.includes('root')
}
