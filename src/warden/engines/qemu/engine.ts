import type { Engine, EngineHost, EngineOptions } from '../../../contract/engine.ts'
import { openGuestEngine } from '../agent-guest/engine.ts'

/**
 * Walls that are virtual machines: each program runs on a kernel of its own, behind a hypervisor that is jailed itself
 * (`src/warden/engines/agent-guest/engine.ts`).
 *
 * Relies on QEMU 8.2, bubblewrap, the images of the store.
 */
export function openQemu(options: EngineOptions, host: EngineHost): Engine {
  const parts = async () => (await import('./guests.ts')).machineGuests
  return openGuestEngine('qemu', parts, { options, host })
}
