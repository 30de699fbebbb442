import type { Provider } from '../../contract/provider.ts'
import { createOwnKernelProvider } from '../../walls/own-kernel-provider.ts'
import type { ProgramProviderOptions } from '../../walls/program-provider.ts'

/** Whole programs, each on a kernel of its own in a clone of a virtual machine of Firecracker: strength 5. */
export function createFirecrackerProvider(options: ProgramProviderOptions): Provider {
  return createOwnKernelProvider(
    { name: 'firecracker', tier: 'microvm', tightens: ['io'] },
    options,
  )
}
