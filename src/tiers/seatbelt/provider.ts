import type { Provider } from '../../contract/provider.ts'
import { createProgramProvider, type ProgramProviderOptions } from '../../walls/program-provider.ts'
import { prove } from './detect.ts'

/**
 * Programs of Node, each one process under a profile of Seatbelt on macOS: strength 3. It starts no further process, has no
 * network and holds no session. Untested on macOS; see `src/jail/seatbelt.ts`.
 */
export function createSeatbeltProvider(options: ProgramProviderOptions): Provider {
  const lacks = ['network', 'session'] as const
  return createProgramProvider(
    { name: 'seatbelt', tier: 'process', languages: ['node'], can: [], lacks, prove },
    options,
  )
}
