import { randomUUID } from 'node:crypto'

/** `/proc/sys` of a wall, in place of the machine's settings. */
export const settingsFolder = '/proc/sys'
/** The kernel's own file, read-only: each read returns a new UUID. */
export const uuidFile = `${settingsFolder}/kernel/random/uuid`

/**
 * Kernel settings that programs read, by path. The boot id would identify the machine, so each wall has another one.
 */
export function kernelSettings(): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries({ ...SETTINGS, 'kernel/random/boot_id': randomUUID() }).map(([name, value]) => [
      `${settingsFolder}/${name}`,
      `${value}\n`,
    ]),
  )
}

/** Kernel defaults. Go reads somaxconn, jemalloc overcommit_memory, CPython pipe-max-size. */
const SETTINGS = {
  'fs/pipe-max-size': 1_048_576,
  'kernel/ngroups_max': 65_536,
  'kernel/pid_max': 4_194_304,
  'net/core/somaxconn': 4096,
  'vm/overcommit_memory': 0,
} as const
