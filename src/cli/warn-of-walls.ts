import type { Assembly } from '../assemble/assemble.ts'
import { sanitiseLine } from '../output/sanitise.ts'
import { note, paint, type Globals } from './print.ts'

/** Warns of walls that the configuration names and that are not available: jobs get another one, and no spares are kept. */
export async function warnOfWalls(
  assembly: Pick<Assembly, 'unavailable'>,
  flags: Globals,
): Promise<void> {
  // Rejects only where the server ends before the probes.
  const found = await assembly.unavailable().catch(() => [])
  for (const { name, setBy, reason, fix } of found) {
    const text = `Cannot use wall "${name}", which "${setBy}" names: ${reason}`
    note(flags, paint('yellow', sanitiseLine(text)))
    note(flags, `  ${sanitiseLine(fix)}`)
  }
}
