import type { Engine, EngineHost, EngineOptions } from '../../../contract/engine.ts'
import { openGuestEngine } from '../agent-guest/engine.ts'

/**
 * Walls that are user-mode kernels: each program runs on a Linux kernel of its own that is a jailed process, without KVM or an
 * emulator (`src/warden/engines/agent-guest/engine.ts`).
 *
 * Relies on Debian's user-mode-linux 7.2, bubblewrap, ptrace, the images of the store.
 */
export function openUserKernels(options: EngineOptions, host: EngineHost): Engine {
  const parts = async () => (await import('./guests.ts')).userKernelGuests
  return openGuestEngine('user-mode-linux', parts, { options, host })
}
