import path from 'node:path'
import { compileSeccomp, readSeccompPolicy } from '../../../os/seccomp.ts'
import { kernelPaths } from './machine.ts'
import type { KernelJailPrograms, UserKernel } from './program.ts'

/**
 * Jail of a user-mode kernel, by bubblewrap. A guest that broke out of its kernel is an ordinary uid without capabilities,
 * in namespaces of its own, without a network, /proc or /dev. Its root is read-only but for one tmpfs, which holds the
 * guest's memory: a file that the kernel makes without a name (O_TMPFILE) and that cannot outgrow the tmpfs.
 *
 * A seccomp allow list is around the kernel and the stubs of its guest's processes: no socket but a pair, no mount, no
 * namespace. Calls of guest programs never meet it: PTRACE_SYSEMU takes a call at its entry, before the filter runs.
 *
 * setarch turns address randomisation off before bubblewrap, because the kernel, which is linked to fixed addresses, would
 * do it and start itself again by /proc/self/exe. The parent-death signal is set after the last change of the uid, since
 * the kernel clears it then (prctl(2)); all processes of the guest die with process 1 of their pid namespace.
 *
 * Does not handle: address randomisation in the kernel of the guest, of which there is none.
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

/** Each process of the guest takes a descriptor of its kernel. */
const NOFILE_MAX = 4_096
const LIMITED = 'ulimit -c 0 && { ulimit -n "$1" || :; } 2>/dev/null && shift && exec "$@"'
const UID_INSIDE = '65534'
const LIBRARIES = '/lib/x86_64-linux-gnu'
const LOADER = '/lib64/ld-linux-x86-64.so.2'
const namespaces = ['--unshare-all', '--die-with-parent', '--uid', UID_INSIDE, '--gid', UID_INSIDE]
const closed = ['--cap-drop', 'ALL', '--hostname', 'mayfly', '--clearenv']

/** Command that starts the kernel in its jail; `words` are its command line. */
export function kernelJailCommand(
  { kernel, initrd, image, uid, ownBytes, filterFd }: KernelJail,
  { setpriv, setarch, bubblewrap }: KernelJailPrograms,
  words: readonly string[],
): readonly string[] {
  const become = uid === undefined ? [] : [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups']
  const [loader = '', ...others] = kernel.libraries
  const bind = (from: string, at: string) => ['--ro-bind', from, at]
  return [
    setpriv,
    ...become,
    '--pdeathsig=KILL',
    '--',
    '/bin/sh',
    '-c',
    LIMITED,
    'sh',
    `${NOFILE_MAX}`,
    setarch,
    '-R',
    bubblewrap,
    ...namespaces,
    ...closed,
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
