import type { GuestEngineParts } from '../agent-guest/start.ts'
import { FirecrackerClones } from './clones.ts'

/** Guests of this engine: virtual machines that were loaded from a snapshot. */
export const firecrackerGuests: GuestEngineParts = {
  kind: {
    mechanism: 'firecracker',
    processName: 'Firecracker',
    layers: ['virtual machine'],
    jail: ['seccomp', 'network namespace', 'pid namespace', 'empty root'],
    missing: ({ origin }) => [
      'user namespace: the jailer makes the jail as root, before it changes to the uid of the wall',
      'memory captures: a snapshot would reset all connections of the guest',
      ...(origin === 'boot' ? ['clones: it was booted (no clone was requested)'] : []),
    ],
  },
  openSource: (parts) => new FirecrackerClones(parts),
}
