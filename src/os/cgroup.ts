import { accessSync, constants, existsSync, mkdirSync } from 'node:fs'
import path from 'node:path'
import { openVersion1 } from './cgroup-1.ts'
import { openVersion2 } from './cgroup-2.ts'
import { type CgroupRoot } from './cgroup-interface.ts'

const MOUNT = '/sys/fs/cgroup'

/** Undefined where this user cannot make groups. */
export function openCgroups(mount: string = MOUNT): CgroupRoot | undefined {
  try {
    return existsSync(path.join(mount, 'cgroup.controllers'))
      ? openVersion2(mount, canMake)
      : openVersion1(mount, canMake)
  } catch {
    return undefined
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
