import type { JailKind } from '../../src/contract/jail-kind.ts'
import type { Language } from '../../src/contract/job.ts'
import type { Provider } from '../../src/contract/provider.ts'
import type { WardenOptions } from '../../src/contract/warden-options.ts'
import { createProcessProvider } from '../../src/tiers/process/provider.ts'
import { makeProgramWalls, type EgressOf } from './program-walls.ts'
import type { Made } from './stand.ts'

/**
 * The process wall with a warden in this process and its own state folder, for one of its languages: the others
 * are hidden, so that their cases are not repeated.
 */
export async function makeProcesses(
  jailKind: JailKind,
  options: Omit<WardenOptions, 'stateFolder'> = {},
  language?: Language,
  egressParts?: EgressOf,
): Promise<Made> {
  const create: Parameters<typeof makeProgramWalls>[0] = (own) =>
    createProcessProvider({ jailKind, ...own })
  const { provider, close } = makeProgramWalls(create, options, egressParts)
  return { provider: language ? only(provider, language) : provider, close }
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
