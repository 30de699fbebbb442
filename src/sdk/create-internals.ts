import type { Assembly } from '../assemble/assemble.ts'
import { systemClock } from '../contract/clock.ts'
import { newJob } from '../job.ts'
import type { MayflyInternals } from './internals.ts'
import { adapt } from './microvm-provider.ts'

/** Internal calls on an instance whose pipeline is in this process. */
export function createInternals(assembly: Assembly): MayflyInternals {
  return {
    async runCapability(request, { capability, tenant }, { signal = never }) {
      const origin = 'capability'
      const principal = { tenant, principal: 'capability-registry', origin, capability } as const
      return await assembly.run(newJob(request, principal, systemClock), { signal })
    },
    async addCustom(custom) {
      const provider = adapt(custom)
      const availability = await assembly.add(provider)
      return { availability, close: async () => provider.close?.() }
    },
    reportMisdeclared(capability, seen) {
      assembly.emitter.emit('capability/misdeclared', { capability, seen })
      return Promise.resolve()
    },
  }
}

const never = new AbortController().signal
