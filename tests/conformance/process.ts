import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../src/contract/clock.ts'
import type { Language } from '../../src/contract/job.ts'
import type { Provider } from '../../src/contract/provider.ts'
import { makeAuthority } from '../../src/egress/authority.ts'
import { openEgress, type EgressParts } from '../../src/egress/open-egress.ts'
import { createSparePools } from '../../src/pool/spare-pools.ts'
import { createProcessProvider } from '../../src/tiers/process/provider.ts'
import type { JailKind } from '../../src/contract/jail-kind.ts'
import { holdWarden } from '../../src/assemble/local-warden.ts'
import type { WardenOptions } from '../../src/contract/warden-options.ts'
import type { Made } from './stand.ts'

/**
 * The process wall with a warden in this process and its own state folder, for one of its languages: the others
 * are hidden, so that their cases are not repeated.
 */
export async function makeProcesses(
  jailKind: JailKind,
  options: Omit<WardenOptions, 'stateFolder'> = {},
  language?: Language,
  egressParts: Pick<EgressParts, 'credentials' | 'dial'> = { credentials: [] },
): Promise<Made> {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-walls-'))
  const warden = holdWarden({ stateFolder: join(folder, 'state'), ...options })
  const emitter = { emit() {} }
  const authority = makeAuthority(() => Date.now())
  const stock = createSparePools(systemClock, emitter)
  const provider = createProcessProvider({
    jailKind,
    warden,
    emitter,
    warm: (kind) => stock.createPool(kind),
    least: 0,
    most: 2,
    openEgressPath: async (controls, run) =>
      openEgress({ controls, run, emitter, authority, ...egressParts }),
  })
  return {
    provider: language ? only(provider, language) : provider,
    async close() {
      await warden.close()
      for (const own of [folder, `${folder}-warden`]) rmSync(own, { recursive: true, force: true })
    },
  }
}

function only(provider: Provider, language: Language): Provider {
  // A script is no function that could be called again.
  const lacks = [
    ...(language === 'sh' ? ['batch'] : []),
    // An isolate is no program whose memory could be copied, and makes no system calls of its own.
    ...(language === 'js' || language === 'ts' ? ['capture-memory', 'files', 'syscalls'] : []),
  ]
  const { can, tightens } = Object.getOwnPropertyDescriptors(provider)
  const left = (all: PropertyDescriptor) => ({
    get: () => (all.get!.call(provider) as readonly string[]).filter((one) => !lacks.includes(one)),
  })
  return Object.defineProperties(provider, {
    languages: { value: [language] },
    can: left(can),
    tightens: left(tightens),
  })
}
