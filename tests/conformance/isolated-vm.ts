import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createIsolateProvider } from '../../src/tiers/isolated-vm/provider.ts'
import { holdWarden } from '../../src/assemble/local-warden.ts'
import type { WardenOptions } from '../../src/contract/warden-options.ts'
import type { Made } from './stand.ts'

/** The isolate wall with a warden in this process and a state folder of its own. */
export async function makeIsolates(
  options: Omit<WardenOptions, 'stateFolder'> = {},
): Promise<Made> {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-walls-'))
  const warden = holdWarden({ stateFolder: join(folder, 'state'), ...options })
  const provider = createIsolateProvider({ warden, emitter: { emit() {} }, spares: 2, wallsMax: 4 })
  return {
    provider,
    async close() {
      await warden.close()
      for (const own of [folder, `${folder}-warden`]) rmSync(own, { recursive: true, force: true })
    },
  }
}
