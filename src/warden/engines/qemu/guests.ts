import type { GuestEngineParts } from '../agent-guest/start.ts'
import { Clones } from './clones.ts'
import { ColdBoots } from './cold-boot.ts'
import { IncomingMachines } from './incoming.ts'
import { TemplateStore } from './template-store.ts'
import { templateBounds } from '../agent-guest/templates.ts'

/**
 * Guests that are virtual machines: each program runs on a kernel of its own, behind a hypervisor that is jailed itself
 * (`src/warden/engines/agent-guest/start.ts`).
 *
 * Relies on QEMU 8.2, bubblewrap, the images of the store.
 */
export const machineGuests: GuestEngineParts = {
  kind: {
    mechanism: 'qemu',
    processName: 'QEMU',
    layers: ['virtual machine'],
    missing: ({ origin, whyBooted = 'no clone was requested' }) =>
      origin === 'boot' ? [`clones: it was booted, which takes seconds (${whyBooted})`] : [],
  },
  openSource(parts) {
    const cold = new ColdBoots(parts)
    const { host, options } = parts
    const incoming = new IncomingMachines({ cold, host, options })
    const store = new TemplateStore(templateBounds.ageMsMax)
    const clones = options.templates === 'off' ? cold : new Clones({ cold, host, options, store })
    return {
      take: (key) => clones.take(key),
      resume: (save) => incoming.resume(save),
      async close() {
        // Together: callers that wait for a clone may be waiting for a boot.
        await Promise.all([incoming.close(), clones.close(), cold.close()])
      },
    }
  },
}
