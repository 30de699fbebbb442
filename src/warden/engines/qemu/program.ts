import { existsSync } from 'node:fs'
import path from 'node:path'
import { MayflyError } from '../../../contract/error.ts'
import { systemFolders } from '../../../jail/facts.ts'
import { findProgram } from '../../../os/find-program.ts'

/** QEMU with the folders that its jail must contain. */
export interface HypervisorProgram {
  /** File by which caches detect another program. */
  readonly file: string
  readonly mounts: readonly { readonly from: string; readonly at: string }[]
  readonly links: readonly { readonly at: string; readonly target: string }[]
  /** Command inside the jail, without the arguments of the machine. */
  readonly words: readonly string[]
}

/** Oldest release that can map the memory of a template without opening the file for writing (`rom=off`). */
export const oldestVersion = { major: 8, minor: 2 } as const

/** Folder of an unpacked newer release with its libraries, loader and firmware; preferred to the package of the system. */
export const unpackedFolder = '/usr/local/lib/mayfly/qemu'
const NAME = 'qemu-system-x86_64'
const AT = '/machine/qemu'

/** Finds QEMU: the unpacked release, or else the package of the system. `hide`: programs to treat as missing. Throws UNAVAILABLE. */
export function findHypervisor(hide: readonly string[] = []): HypervisorProgram {
  const own = path.join(unpackedFolder, NAME)
  if (!hide.includes('unpacked qemu') && existsSync(own)) return unpacked(unpackedFolder, own)
  const found = hide.includes('qemu') ? undefined : findProgram(NAME)
  if (found) return ofSystem(found)
  throw new MayflyError('UNAVAILABLE', `Cannot start a machine: the program "${NAME}" is missing`, {
    hint: 'Install the package qemu-system-x86 of Debian 13 (trixie)',
  })
}

function unpacked(folder: string, file: string): HypervisorProgram {
  const loader = [`${AT}/lib/ld-linux-x86-64.so.2`, '--library-path', `${AT}/lib`]
  return {
    file,
    mounts: [{ from: folder, at: AT }],
    links: [],
    words: [...loader, `${AT}/${NAME}`, '-L', `${AT}/share`],
  }
}

function ofSystem(file: string): HypervisorProgram {
  const { mounts, links } = systemFolders()
  return { file, mounts: mounts.map((at) => ({ from: at, at })), links, words: [file] }
}
