import type { Provider } from '../../contract/provider.ts'
import { createOwnKernelProvider } from '../../walls/own-kernel-provider.ts'
import type { ProgramProviderOptions } from '../../walls/program-provider.ts'

/** Whole programs, each on a Linux kernel of its own that is a jailed process of this machine: strength 4. */
export function createUserKernelProvider(options: ProgramProviderOptions): Provider {
  return createOwnKernelProvider(
    { name: 'user-mode-linux', tier: 'userkernel', can: ['capture-memory', 'capture-disk'] },
    options,
  )
}
