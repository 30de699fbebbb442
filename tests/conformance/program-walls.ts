import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { holdWarden } from '../../src/assemble/local-warden.ts'
import { systemClock } from '../../src/contract/clock.ts'
import type { Language } from '../../src/contract/job.ts'
import type { Provider } from '../../src/contract/provider.ts'
import type { WardenOptions } from '../../src/contract/warden-options.ts'
import { makeAuthority } from '../../src/egress/authority.ts'
import { openEgress, type EgressParts } from '../../src/egress/open-egress.ts'
import { createSparePools } from '../../src/pool/spare-pools.ts'
import type { ProgramProviderOptions } from '../../src/walls/program-provider.ts'
import { abilitiesIn, type Made } from './stand.ts'

/** Parts of the egress path of a wall: credentials, and how names are resolved. */
export type EgressOf = Pick<EgressParts, 'credentials' | 'dial'>

/** Walls of a provider of programs, with a warden in this process and a state folder of its own. */
export function makeProgramWalls(
  create: (options: ProgramProviderOptions) => Provider,
  options: Omit<WardenOptions, 'stateFolder'>,
  egressParts: EgressOf = { credentials: [] },
): Made {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-walls-'))
  const warden = holdWarden({ stateFolder: join(folder, 'state'), ...options })
  const emitter = { emit() {} }
  const authority = makeAuthority(() => Date.now())
  const stock = createSparePools(systemClock, emitter)
  const provider = create({
    warden,
    emitter,
    warm: (kind) => stock.createPool(kind),
    least: 0,
    most: 2,
    openEgressPath: async (controls, run) =>
      openEgress({ controls, run, emitter, authority, ...egressParts }),
  })
  return {
    provider,
    async close() {
      await warden.close()
      for (const own of [folder, `${folder}-warden`]) rmSync(own, { recursive: true, force: true })
    },
  }
}

/** The same walls, of which a suite sees one language. */
export function inLanguage({ provider, close }: Made, language: Language): Made {
  const can = abilitiesIn(language, provider.can)
  const own = { languages: { value: [language] }, can: { value: can } }
  return { provider: Object.defineProperties(provider, own), close }
}
