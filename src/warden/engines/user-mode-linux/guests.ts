import type { GuestEngineParts } from '../agent-guest/start.ts'
import { UserKernelBoots } from './boots.ts'

/** Guests of this engine: Linux kernels that are processes. */
export const userKernelGuests: GuestEngineParts = {
  kind: {
    mechanism: 'user-mode-linux',
    processName: 'the user-mode kernel',
    isLine: true,
    layers: ['user-mode kernel'],
    missing: () => [
      'hardware virtualization: the kernel of a guest is a process of this machine',
      "memory cgroup of the guest: its kernel has none, and the host's limit includes an allowance above that of the job",
    ],
  },
  openSource: (parts) => new UserKernelBoots(parts),
}
