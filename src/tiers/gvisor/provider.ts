import type { Provider } from '../../contract/provider.ts'
import {
  createProgramProvider,
  type ProgramProviderKind,
  type ProgramProviderOptions,
} from '../../walls/program-provider.ts'
import { prove } from './detect.ts'

const kind: ProgramProviderKind = {
  name: 'gvisor',
  tier: 'gvisor',
  languages: ['node', 'sh', 'bash', 'python'],
  can: ['packages', 'image', 'capture-memory', 'capture-disk'],
  prove,
}

/** Whole programs on a kernel in user space, one sentry a job: strength 4. */
export function createGvisorProvider(options: ProgramProviderOptions): Provider {
  return createProgramProvider(kind, options)
}
