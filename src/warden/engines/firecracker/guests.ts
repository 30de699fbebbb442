import type { GuestEngineParts } from '../agent-guest/start.ts'
import { FirecrackerClones } from './clones.ts'

/** Guests of this engine: virtual machines that were loaded from a snapshot. */
export const firecrackerGuests: GuestEngineParts = {
  kind: {
    mechanism: 'firecracker',
    holder: 'Firecracker',
    layers: ['virtual machine'],
    jail: ['seccomp', 'network namespace', 'pid namespace', 'empty root'],
    missing: ({ origin }) => [
      'user namespace: the jailer makes the jail as root, before it becomes the uid of the wall',
      'memory captures: a snapshot would end every connection of the guest that it is taken of',
      ...(origin === 'boot' ? ['clones: it was booted (none were asked for)'] : []),
    ],
  },
  openSource: (parts) => new FirecrackerClones(parts),
}
