import { compileSeccomp, policyWith, readSeccompPolicy } from '../../../os/seccomp.ts'
import type { Accelerator } from './machine.ts'

/**
 * Seccomp allow list of QEMU, which bubblewrap installs before QEMU starts: the list of whole programs (no namespaces, mounts,
 * io_uring, keys or inspection of other processes), with sockets restricted to AF_UNIX. QEMU adds its own filter (`-sandbox`).
 *
 * A network namespace alone does not close the network: AF_VSOCK ignores it, and connects a virtual machine to its hypervisor.
 *
 * Not handled: calls for devices that Mayfly's machines do not have; they fail with an errno.
 */
export function machineFilter(accelerator: Accelerator): Buffer {
  const policy = policyWith(readSeccompPolicy('process'), ['namespaces'])
  const allow = policy.allow.filter(({ call }) => call !== 'socket' && call !== 'connect')
  const kvm = accelerator === 'kvm' ? [kvmRequests] : []
  return compileSeccomp({
    ...policy,
    name: 'machine',
    allow: [...allow, ownSockets, ...ownFilter, ...kvm],
  })
}

const AF_UNIX = 1
const ownSockets = {
  call: 'socket',
  why: 'AF_UNIX sockets: its root contains none to connect to',
  where: [{ arg: 0, mask: -1, equals: AF_UNIX }],
} as const

const PR_SET_SECCOMP = 22
/** QEMU checks for filters by prctl(2), and installs its own by seccomp(2): an additional filter can only restrict. */
const ownFilter = [
  {
    call: 'prctl',
    why: 'asks whether there are filters (PR_SET_SECCOMP)',
    where: [{ arg: 0, mask: -1, equals: PR_SET_SECCOMP }],
  },
  { call: 'seccomp', why: 'loads its own filter' },
] as const

const kvmRequests = {
  call: 'ioctl',
  why: 'requests of /dev/kvm, whose type is 0xae',
  where: [{ arg: 1, mask: 0xff00, equals: 0xae00 }],
} as const
