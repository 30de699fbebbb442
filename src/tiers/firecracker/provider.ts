import type { Provider } from '../../contract/provider.ts'
import { createOwnKernelProvider, type OwnKernelOptions } from '../../walls/own-kernel-provider.ts'

/** Whole programs, each on a kernel of its own in a clone of a virtual machine of Firecracker: strength 5. */
export function createFirecrackerProvider(options: OwnKernelOptions): Provider {
  return createOwnKernelProvider({ name: 'firecracker', tier: 'microvm' }, options)
}
