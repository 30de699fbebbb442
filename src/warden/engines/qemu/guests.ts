import type { GuestEngineParts } from '../agent-guest/start.ts'
import { Clones } from './clones.ts'
import { ColdBoots } from './cold-boot.ts'
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
    if (options.templates === 'off') return cold
    const store = new TemplateStore(templateBounds.ageMsMax)
    const clones = new Clones({ cold, host, options, store })
    return {
      take: (key) => clones.take(key),
      async close() {
        // Together: callers that wait for a clone may be waiting for a boot.
        await Promise.all([clones.close(), cold.close()])
      },
    }
  },
}
