import type { Provider } from '../../contract/provider.ts'
import { createOwnKernelProvider } from '../../walls/own-kernel-provider.ts'
import type { ProgramProviderOptions } from '../../walls/program-provider.ts'

/** Whole programs, each on a kernel of its own in a virtual machine of QEMU: strength 5. */
export function createQemuProvider(options: ProgramProviderOptions): Provider {
  return createOwnKernelProvider(
    {
      name: 'qemu',
      tier: 'microvm',
      can: ['capture-memory', 'capture-disk', 'program-zones', 'fork'],
      tightens: ['io'],
    },
    options,
  )
}
