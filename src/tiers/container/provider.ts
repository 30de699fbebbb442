import type { Provider } from '../../contract/provider.ts'
import { createProgramProvider, type ProgramProviderOptions } from '../../walls/program-provider.ts'
import { prove } from './detect.ts'

/** Whole programs in containers of an installed engine, `podman` or `docker`: strength 3. */
export function createContainerProvider(name: string, options: ProgramProviderOptions): Provider {
  const languages = ['node', 'sh', 'bash', 'python'] as const
  return createProgramProvider(
    { name, tier: 'container', languages, can: ['packages'], prove },
    options,
  )
}
