import type { Provider } from '../../contract/provider.ts'
import { createOwnKernelProvider, type OwnKernelOptions } from '../../walls/own-kernel-provider.ts'

/** Whole programs, each on a kernel of its own in a virtual machine of QEMU: strength 5. */
export function createQemuProvider(options: OwnKernelOptions): Provider {
  return createOwnKernelProvider(
    { name: 'qemu', tier: 'microvm', sees: ['capture-memory', 'capture-disk'], holds: ['io'] },
    options,
  )
}
