import type { GuestEngineParts } from '../agent-guest/start.ts'
import { Clones } from './clones.ts'
import { ColdBoots } from './cold-boot.ts'
import { TemplateShelf } from './template-shelf.ts'
import { templateBounds } from '../agent-guest/templates.ts'

/** Guests of this engine: virtual machines. */
export const machineGuests: GuestEngineParts = {
  kind: {
    mechanism: 'qemu',
    holder: 'QEMU',
    layers: ['virtual machine'],
    missing: ({ origin, whyBooted = 'none were asked for' }) =>
      origin === 'boot' ? [`clones: it was booted, which takes seconds (${whyBooted})`] : [],
  },
  openSource(parts) {
    const cold = new ColdBoots(parts)
    const { host, options } = parts
    if (options.templates === 'off') return cold
    const shelf = new TemplateShelf(templateBounds.ageMsMax)
    const clones = new Clones({ cold, host, options, shelf })
    return {
      take: (key) => clones.take(key),
      async close() {
        // Takers of clones may be waiting for a boot.
        await Promise.all([clones.close(), cold.close()])
      },
    }
  },
}
