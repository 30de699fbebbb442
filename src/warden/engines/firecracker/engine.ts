import type { Engine, EngineHost, EngineOptions } from '../../../contract/engine.ts'
import { openGuestEngine } from '../agent-guest/engine.ts'
import { sweepJails } from './sweep-jails.ts'

/**
 * Walls that are virtual machines of Firecracker: each program runs in a clone of a snapshot, behind a VMM with five devices that
 * its jailer jails (`src/warden/engines/agent-guest/engine.ts`).
 *
 * Relies on KVM, root, Firecracker 1.14.4, 1.15.1 or newer with its jailer, and the images of the store. Never run with a real
 * Firecracker: tests use a fake server that follows the API specification.
 */
export function openFirecracker(options: EngineOptions, host: EngineHost): Engine {
  const parts = async () => (await import('./guests.ts')).firecrackerGuests
  return openGuestEngine('firecracker', parts, { options, host, sweep: sweepJails })
}
