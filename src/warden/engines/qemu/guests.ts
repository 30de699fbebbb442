import type { MachineSave } from '../../../contract/machine-save.ts'
import type { GuestEngineParts } from '../agent-guest/start.ts'
import { Clones } from './clones.ts'
import { ColdBoots } from './cold-boot.ts'
import { IncomingMachines } from './incoming.ts'
import { TemplateStore } from './template-store.ts'
import { templateBounds } from '../agent-guest/templates.ts'

/** Guests of this engine: virtual machines. */
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
    const resume = (save: MachineSave) => incoming.resume(save)
    if (options.templates === 'off')
      return {
        take: (key) => cold.take(key),
        resume,
        close: async () => void (await Promise.all([incoming.close(), cold.close()])),
      }
    const store = new TemplateStore(templateBounds.ageMsMax)
    const clones = new Clones({ cold, host, options, store })
    return {
      take: (key) => clones.take(key),
      resume,
      async close() {
        // Together: callers that wait for a clone may be waiting for a boot.
        await Promise.all([incoming.close(), clones.close(), cold.close()])
      },
    }
  },
}
