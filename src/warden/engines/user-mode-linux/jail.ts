import path from 'node:path'
import { compileSeccomp, readSeccompPolicy } from '../../../os/seccomp.ts'
import { kernelPaths } from './machine.ts'
import type { KernelJailPrograms, UserKernel } from './program.ts'
import { isolated } from '../agent-guest/jail-command.ts'
import { asWallUser } from '../spawned.ts'

/**
 * Jail of a user-mode kernel, by bubblewrap. A guest that escapes its kernel has an ordinary uid without capabilities, namespaces
 * of its own, and no network, /proc or /dev. Its root is read-only except for one tmpfs, which holds the guest's memory: an
 * unnamed file (O_TMPFILE), limited by the size of the tmpfs.
 *
 * A seccomp allow list applies to the kernel and to the stubs of its guest's processes: only socketpair(2), no mounts, no
 * namespaces. Calls of guest programs do not reach it: PTRACE_SYSEMU intercepts them at their entry, before the filter.
 *
 * setarch disables ASLR before bubblewrap, because the kernel, which is linked to fixed addresses, would otherwise disable it
 * itself and re-execute /proc/self/exe. The parent-death signal is set after the last change of the uid, since the kernel clears
 * it then (prctl(2)); all processes of the guest die with process 1 of their pid namespace.
 *
 * Not handled: ASLR of the guest's kernel, which has none.
 */
export interface KernelJail {
  readonly kernel: UserKernel
  readonly initrd: string
  readonly image: string | undefined
  readonly uid: number | undefined
  /** Size of the tmpfs. */
  readonly ownBytes: number
  /** Descriptor from which bubblewrap reads the filter. */
  readonly filterFd: number
}

/** Each process of the guest needs a descriptor of its kernel. */
const NOFILE_MAX = 4_096
const LIMITED = 'ulimit -c 0 && { ulimit -n "$1" || :; } 2>/dev/null && shift && exec "$@"'
const LIBRARIES = '/lib/x86_64-linux-gnu'
const LOADER = '/lib64/ld-linux-x86-64.so.2'

/** Command that starts the kernel in its jail; `words` are its arguments. */
export function kernelJailCommand(
  { kernel, initrd, image, uid, ownBytes, filterFd }: KernelJail,
  { setpriv, setarch, bubblewrap }: KernelJailPrograms,
  words: readonly string[],
): readonly string[] {
  const [loader = '', ...others] = kernel.libraries
  const bind = (from: string, at: string) => ['--ro-bind', from, at]
  return [
    ...asWallUser(setpriv, uid),
    '/bin/sh',
    '-c',
    LIMITED,
    'sh',
    `${NOFILE_MAX}`,
    setarch,
    '-R',
    bubblewrap,
    ...isolated,
    ...bind(kernel.file, kernelPaths.kernel),
    ...bind(loader, LOADER),
    ...others.flatMap((file) => bind(file, path.join(LIBRARIES, path.basename(file)))),
    ...bind(initrd, kernelPaths.initrd),
    ...(image === undefined ? [] : bind(image, kernelPaths.image)),
    '--size',
    `${ownBytes}`,
    '--tmpfs',
    kernelPaths.own,
    '--setenv',
    'TMPDIR',
    kernelPaths.own,
    '--seccomp',
    `${filterFd}`,
    '--remount-ro',
    '/',
    '--chdir',
    '/',
    '--',
    kernelPaths.kernel,
    ...words,
  ]
}

/** Compiled filter of the kernel and its stubs. */
export function kernelFilter(): Buffer {
  return compileSeccomp(readSeccompPolicy('user-mode-linux'))
}
