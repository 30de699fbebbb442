import type { Assembly } from '../assemble/assemble.ts'
import { sanitiseLine } from '../output/sanitise.ts'
import { note, paint, type Globals } from './print.ts'

/**
 * Warns of walls that the configuration names and that are not available: jobs get another one, and no spares are kept. Not once
 * `stopped` has resolved: a wall that is probed while its warden ends is refused for that alone.
 */
export async function warnOfWalls(
  assembly: Pick<Assembly, 'unavailable'>,
  flags: Globals,
  stopped: Promise<unknown>,
): Promise<void> {
  // Rejects only where the server ends before the probes.
  const probed = assembly.unavailable().catch(() => [])
  const found = await Promise.race([probed, stopped.then(() => [])])
  for (const { name, setBy, reason, fix } of found) {
    const text = `Cannot use wall "${name}", which "${setBy}" names: ${reason}`
    note(flags, paint('yellow', sanitiseLine(text)))
    note(flags, `  ${sanitiseLine(fix)}`)
  }
}
