import { MayflyError } from '../contract/error.ts'
import { tierName } from '../contract/tier.ts'
import type { MicroVMProvider } from './microvm-contract.ts'

const members = ['isAvailable', 'initialize', 'execute', 'cleanup'] as const
const shape = /^[A-Za-z0-9][A-Za-z0-9._-]{0,50}$/

/** Name of a custom provider. Throws MayflyError INVALID for a malformed provider. */
export function customName(custom: MicroVMProvider): string {
  const isWhole = members.every((member) => typeof custom[member] === 'function')
  const name = isWhole ? nameOf(custom) : ''
  if (isWhole && typeof name === 'string' && shape.test(name)) {
    if (custom.tier === undefined || tierName.safeParse(custom.tier).success) return name
  }
  throw new MayflyError(
    'INVALID',
    `Cannot register the provider: expected name, ${members.join(', ')}, and optionally a tier`,
  )
}

function nameOf({ name }: MicroVMProvider): string {
  return typeof name === 'function' ? name() : name
}
