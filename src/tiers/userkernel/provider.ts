import type { Provider } from '../../contract/provider.ts'
import { createOwnKernelProvider, type OwnKernelOptions } from '../../walls/own-kernel-provider.ts'

/** Whole programs, each on a Linux kernel of its own that is a jailed process of this machine: strength 4. */
export function createUserKernelProvider(options: OwnKernelOptions): Provider {
  return createOwnKernelProvider({ name: 'user-mode-linux', tier: 'userkernel' }, options)
}
