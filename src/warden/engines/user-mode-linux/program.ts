import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { MayflyError } from '../../../contract/error.ts'
import { neededProgram } from '../needed-program.ts'

/** A kernel that runs as a process, with the modules of its boot and the libraries in its jail. */
export interface UserKernel {
  readonly file: string
  readonly modules: readonly string[]
  /** Loader, libc and libgcc_s; without the last, a power-off aborts in pthread_cancel. */
  readonly libraries: readonly string[]
  /** Changes if any of these files changes. */
  readonly fingerprint: string
}

/** Programs that start a kernel in its jail. */
export interface KernelJailPrograms {
  readonly setpriv: string
  readonly setarch: string
  readonly bubblewrap: string
}

/**
 * Folder of the unpacked package with its libraries. The package of an older system is never used: version 6.1 crashes at the
 * first program, because its buffer for processor registers has 2.5 KiB, too little for current processors (PTRACE_SETREGSET).
 */
export const userKernelFolder = '/usr/local/lib/mayfly/user-mode-linux'

const KERNEL = 'linux.uml'
const hint =
  'Install the package user-mode-linux 7.2 of Debian 14 (forky) beside the system: see docs/how-to'
const libraries = ['ld-linux-x86-64.so.2', 'libc.so.6', 'libgcc_s.so.1'] as const

/** `hide`: programs to treat as missing. Throws MayflyError UNAVAILABLE with the fix. */
export function findUserKernel(
  hide: readonly string[] = [],
  folder: string = userKernelFolder,
): UserKernel {
  const file = path.join(folder, KERNEL)
  if (hide.includes('user-mode-linux') || !existsSync(file))
    throw unavailable('the user-mode kernel is missing')
  const found = libraries.map((name) => path.join(folder, 'lib', name))
  const modules = path.join(folder, 'modules')
  const lacking = [...found, modules].find((one) => !existsSync(one))
  if (lacking) throw unavailable(`"${lacking}" is missing`)
  const names = readdirSync(modules).filter((name) => /^[\w-]+\.ko$/.test(name))
  const all = names.sort().map((name) => path.join(modules, name))
  return {
    file,
    modules: all,
    libraries: found,
    fingerprint: JSON.stringify([file, ...found, ...all].map(factsOf)),
  }
}

/** Modules of a boot by their paths in an initrd, and the list of their load order for the agent. */
export function bootModules({ modules }: UserKernel): ReadonlyMap<string, Uint8Array> {
  const names = modules.map((file) => path.basename(file))
  return new Map([
    ...modules.map((file, index) => [`modules/${names[index]}`, readFileSync(file)] as const),
    ['modules/order', Buffer.from(names.map((name) => `${name}\n`).join(''))],
  ])
}

/** Throws MayflyError UNAVAILABLE if a program is missing. */
export function findKernelJailPrograms(hide: readonly string[] = []): KernelJailPrograms {
  const find = (name: string, from: string) =>
    neededProgram(name, { what: 'a user-mode kernel', hint: `Install ${from}`, hide })
  return {
    setpriv: find('setpriv', 'util-linux'),
    setarch: find('setarch', 'util-linux'),
    bubblewrap: find('bwrap', 'bubblewrap'),
  }
}

function factsOf(file: string): readonly (string | number)[] {
  const { size, mtimeMs } = statSync(file)
  return [file, size, mtimeMs]
}

function unavailable(why: string): MayflyError {
  return new MayflyError('UNAVAILABLE', `Cannot start a user-mode kernel: ${why}`, { hint })
}
