import type { GuestEngineParts } from '../agent-guest/start.ts'
import { UserKernelBoots } from './boots.ts'

/** Guests of this engine: Linux kernels that are processes. */
export const userKernelGuests: GuestEngineParts = {
  kind: {
    mechanism: 'user-mode-linux',
    holder: 'the user-mode kernel',
    isLine: true,
    layers: ['user-mode kernel'],
    missing: () => [
      'hardware: the kernel of a guest is a process, and no processor divides it',
      "memory group of the guest: its kernel has no such limit, and this machine's leaves room beside the job",
    ],
  },
  openSource: (parts) => new UserKernelBoots(parts),
}
