import { setTimeout as sleep } from 'node:timers/promises'
import type { Assembly } from '../assemble/assemble.ts'
import type { ProvedProvider } from '../contract/provider.ts'

/** Time from the start of this process in which a short report probes walls: one that boots a machine may take minutes. */
export const probingMs = 5_000

export interface ProvedInTime {
  readonly proved: readonly ProvedProvider[]
  /** Names of providers whose probes take longer. */
  readonly later: readonly string[]
}

/** All providers, or those that are proved when the process is `untilMs` old; Infinity waits for all. */
export async function provedWithin(assembly: Assembly, untilMs: number): Promise<ProvedInTime> {
  if (untilMs === Infinity) return { proved: await assembly.providers(), later: [] }
  const whole = assembly.providers()
  // The race may be lost to the end of the assembly.
  whole.catch(() => undefined)
  const isLate = sleep(Math.max(0, untilMs - performance.now()), undefined, { ref: false })
  const proved = await Promise.race([whole, isLate])
  if (proved !== undefined) return { proved, later: [] }
  return { proved: assembly.proved(), later: assembly.unproved() }
}
