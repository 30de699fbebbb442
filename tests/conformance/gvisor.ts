import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { holdWarden } from '../../src/assemble/local-warden.ts'
import { systemClock } from '../../src/contract/clock.ts'
import type { Language } from '../../src/contract/job.ts'
import type { WardenOptions } from '../../src/contract/warden-options.ts'
import { makeAuthority } from '../../src/egress/authority.ts'
import { openEgress, type EgressParts } from '../../src/egress/open-egress.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { createSparePools } from '../../src/pool/spare-pools.ts'
import { createGvisorProvider } from '../../src/tiers/gvisor/provider.ts'
import { mayInstallRunsc } from '../../scripts/debian-packages.ts'
import { abilitiesIn, type Made } from './stand.ts'

export const noRunsc = 'runsc is missing'

/** Found as its engine finds it. With `CI=true` a machine that may install it has it: otherwise this throws. */
export function isRunscThere(): boolean {
  const isThere = findProgram('runsc') !== undefined || existsSync('/usr/local/lib/mayfly/runsc')
  if (!isThere && process.env['CI'] === 'true' && mayInstallRunsc()) throw new Error(noRunsc)
  return isThere
}

/** Walls of the gvisor tier, for one of its languages, with a warden in this process and a state folder of its own. */
export async function makeGvisor(
  options: Partial<WardenOptions>,
  language: Language,
  egressParts: Pick<EgressParts, 'credentials' | 'dial'> = { credentials: [] },
): Promise<Made> {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-walls-'))
  const warden = holdWarden({ stateFolder: join(folder, 'state'), ...options })
  const emitter = { emit() {} }
  const authority = makeAuthority(() => Date.now())
  const stock = createSparePools(systemClock, emitter)
  const provider = createGvisorProvider({
    warden,
    emitter,
    warm: (kind) => stock.createPool(kind),
    least: 0,
    most: 2,
    openEgressPath: async (controls, run) =>
      openEgress({ controls, run, emitter, authority, ...egressParts }),
  })
  const can = abilitiesIn(language, provider.can)
  const own = { languages: { value: [language] }, can: { value: can } }
  return {
    provider: Object.defineProperties(provider, own),
    async close() {
      await warden.close()
      for (const own of [folder, `${folder}-warden`]) rmSync(own, { recursive: true, force: true })
    },
  }
}
