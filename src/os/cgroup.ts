import { accessSync, constants, existsSync, mkdirSync, statfsSync } from 'node:fs'
import path from 'node:path'
import { openVersion1 } from './cgroup-1.ts'
import { openVersion2 } from './cgroup-2.ts'
import { type CgroupRoot } from './cgroup-interface.ts'

const MOUNT = '/sys/fs/cgroup'
/** CGROUP_SUPER_MAGIC and CGROUP2_SUPER_MAGIC of linux/magic.h. */
const FILE_SYSTEMS: readonly number[] = [0x27e0eb, 0x63677270]

/** Undefined if this user cannot create groups. Tests pass a `mount` of their own. */
export function openCgroups(mount: string = MOUNT): CgroupRoot | undefined {
  const canMakeGroup = mount === MOUNT ? canMakeInKernel : canMake
  try {
    return existsSync(path.join(mount, 'cgroup.controllers'))
      ? openVersion2(mount, canMakeGroup)
      : openVersion1(mount, canMakeGroup)
  } catch {
    return undefined
  }
}

/**
 * In v1 the hierarchies are mounted in a tmpfs, and a container may have only that tmpfs. A folder that root creates
 * there enforces nothing, and its files read back any limit that was written.
 */
function canMakeInKernel(folder: string): boolean {
  try {
    return FILE_SYSTEMS.includes(statfsSync(path.dirname(folder)).type) && canMake(folder)
  } catch {
    return false
  }
}

function canMake(folder: string): boolean {
  try {
    mkdirSync(folder, { recursive: true })
    accessSync(folder, constants.W_OK)
    return true
  } catch {
    return false
  }
}
