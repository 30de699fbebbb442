import type { GuestEngineParts } from '../agent-guest/start.ts'
import { FirecrackerClones } from './clones.ts'

/**
 * Guests that are virtual machines of Firecracker: each program runs in a clone of a snapshot, behind a VMM with five devices that
 * its jailer jails (`src/warden/engines/agent-guest/start.ts`).
 *
 * Relies on KVM, root, Firecracker 1.14.4, 1.15.1 or newer with its jailer, and the images of the store. Never run with a real
 * Firecracker: tests use a fake server that follows the API specification.
 */
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
