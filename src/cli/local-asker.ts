import type { Assembly } from '../assemble/assemble.ts'
import type { Profile } from '../contract/profile.ts'

/** Asker of each job of `mayfly run`, whichever process runs it. */
export const localAsker = { tenant: 'default', principal: 'cli', origin: 'cli' } as const

/** Whether the wall of a profile has a sentinel, by its proof. */
export function hasSentinel({ provider }: Profile, assembly: Pick<Assembly, 'proved'>): boolean {
  const its = assembly.proved().find((one) => one.provider.name === provider)?.availability
  return its?.available === true && its.layers.includes('sentinel')
}
