import { randomUUID } from 'node:crypto'

/** `/proc/sys` of a wall, in place of the machine's settings. */
export const settingsFolder = '/proc/sys'
/** Answers a new UUID to each read, and nothing else: the kernel's own file, read-only. */
export const uuidFile = `${settingsFolder}/kernel/random/uuid`

/**
 * Settings of the kernel that programs read, by their path. The boot id of the machine would identify it, so each wall
 * has another.
 */
export function kernelSettings(): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries({ ...SETTINGS, 'kernel/random/boot_id': randomUUID() }).map(([name, value]) => [
      `${settingsFolder}/${name}`,
      `${value}\n`,
    ]),
  )
}

/** Defaults of a kernel. Go reads somaxconn, jemalloc overcommit_memory, CPython pipe-max-size. */
const SETTINGS = {
  'fs/pipe-max-size': 1_048_576,
  'kernel/ngroups_max': 65_536,
  'kernel/pid_max': 4_194_304,
  'net/core/somaxconn': 4096,
  'vm/overcommit_memory': 0,
} as const
