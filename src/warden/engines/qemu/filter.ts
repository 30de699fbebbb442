import { compileSeccomp, policyWith, readSeccompPolicy } from '../../../os/seccomp.ts'
import type { Accelerator } from './machine.ts'

/**
 * System calls of QEMU, as an allow list that bubblewrap loads before QEMU begins: that of whole programs (no namespaces, mounts,
 * io_uring, keys or looking into other processes), with sockets of AF_UNIX alone. QEMU's own filter (`-sandbox`) comes over it.
 *
 * A network namespace alone does not close the network: AF_VSOCK knows none, and leads from a virtual machine to its hypervisor.
 *
 * Not handled: calls that QEMU needs for devices that no machine of ours has; they are refused with an errno.
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
  why: 'sockets that nothing can be connected to (AF_UNIX)',
  where: [{ arg: 0, mask: -1, equals: AF_UNIX }],
} as const

const PR_SET_SECCOMP = 22
/** QEMU looks for it by prctl(2), and loads its filter by seccomp(2): a further one can only take away. */
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
