import path from 'node:path'
import { machinePaths } from './machine.ts'
import type { HypervisorProgram } from './program.ts'
import { neededProgram } from '../needed-program.ts'
import { isolated } from '../agent-guest/jail-command.ts'
import { asWallUser } from '../spawned.ts'

/**
 * Jail of QEMU, by bubblewrap: a guest that escapes its machine has an ordinary uid without capabilities, namespaces of its own, no
 * network, /proc or /dev, a root that is read-only except for one file, and an allow list of system calls (filter.ts); QEMU's own
 * seccomp filter (`-sandbox`) forbids new processes and other users.
 *
 * The writable file is for the state of the devices. In a folder a compromised QEMU could make files until the disk of this
 * machine is full, because RLIMIT_FSIZE limits each of them alone. A machine that becomes a template writes to its folder: it
 * runs no code of a job.
 *
 * The parent-death signal is set after the last change of the uid, because the kernel clears it then (prctl(2)); the
 * machine dies with bubblewrap's process 1, and that with the outer one. Files are bind-mounted one by one by the uid of the
 * wall, which needs read access to them.
 */
export interface MachineJail {
  readonly program: HypervisorProgram
  readonly files: MachineFiles
  /** Folder of the machine. */
  readonly own: string
  /** False: only the file for the state of the devices is writable in it. */
  readonly isOwnWritable: boolean
  readonly uid: number | undefined
  /** Limit of file size in bytes (RLIMIT_FSIZE). */
  readonly fileBytesMax: number
  /** Descriptor with `machineFilter`. */
  readonly filterFd: number
}

/** Files of this host that a machine reads. */
export interface MachineFiles {
  readonly kernel?: string
  readonly initrd?: string
  readonly image?: string
  /** Folder with the memory and the state of a template. */
  readonly template?: string
}

export interface JailPrograms {
  readonly setpriv: string
  readonly bubblewrap: string
}

const NOFILE_MAX = 256
const BLOCK_BYTES = 512
const LIMITED =
  'ulimit -c 0 && ulimit -n "$1" && { ulimit -f "$2" || :; } 2>/dev/null && shift 2 && exec "$@"'

/** Throws MayflyError UNAVAILABLE if a program is missing. */
export function findJailPrograms(hide: readonly string[] = []): JailPrograms {
  const of = { what: 'a machine', hide }
  return {
    setpriv: neededProgram('setpriv', { ...of, hint: 'Install util-linux' }),
    bubblewrap: neededProgram('bwrap', { ...of, hint: 'Install bubblewrap' }),
  }
}

/** Command that starts QEMU in its jail; `words` are the arguments of the machine. */
export function jailCommand(
  { program, files, own, isOwnWritable, uid, fileBytesMax, filterFd }: MachineJail,
  { setpriv, bubblewrap }: JailPrograms,
  words: readonly string[],
): readonly string[] {
  const blocks = Math.ceil(fileBytesMax / BLOCK_BYTES)
  return [
    ...asWallUser(setpriv, uid),
    '/bin/sh',
    '-c',
    LIMITED,
    'sh',
    `${NOFILE_MAX}`,
    `${blocks}`,
    bubblewrap,
    ...isolated,
    ...program.mounts.flatMap(({ from, at }) => ['--ro-bind', from, at]),
    ...program.links.flatMap(({ at, target }) => ['--symlink', target, at]),
    ...bindsOf(files),
    ...(isOwnWritable ? ['--bind', own, machinePaths.own] : devicesOnly(own)),
    '--remount-ro',
    '/',
    '--chdir',
    machinePaths.own,
    '--seccomp',
    `${filterFd}`,
    '--',
    ...program.words,
    ...words,
  ]
}

function devicesOnly(own: string): readonly string[] {
  const { own: at, ownDevices } = machinePaths
  return ['--ro-bind', own, at, '--bind', path.join(own, path.basename(ownDevices)), ownDevices]
}

function bindsOf({ kernel, initrd, image, template }: MachineFiles): readonly string[] {
  const binds = [
    [kernel, machinePaths.kernel],
    [initrd, machinePaths.initrd],
    [image, machinePaths.image],
    [template, machinePaths.template],
  ] as const
  return binds.flatMap(([from, at]) => (from === undefined ? [] : ['--ro-bind', from, at]))
}
