import type { GuestEngineParts } from '../agent-guest/start.ts'
import { UserKernelBoots } from './boots.ts'

/**
 * Guests that are user-mode kernels: each program runs on a Linux kernel of its own that is a jailed process, without KVM or an
 * emulator (`src/warden/engines/agent-guest/start.ts`).
 *
 * Relies on Debian's user-mode-linux 7.2, bubblewrap, ptrace, the images of the store.
 */
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
