import type { Assembly } from '../assemble/assemble.ts'
import type { Profile } from '../contract/profile.ts'

/** Principal of each job of `mayfly run`, in whichever process it runs. */
export const localAsker = { tenant: 'default', principal: 'cli', origin: 'cli' } as const

/** True if the provider's proof names a sentinel. */
export function provesSentinel({ provider }: Profile, assembly: Pick<Assembly, 'proved'>): boolean {
  const its = assembly.proved().find((one) => one.provider.name === provider)?.availability
  return its?.available === true && its.layers.includes('sentinel')
}
