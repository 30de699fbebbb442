import type { Assembly } from '../assemble/assemble.ts'
import { strengthOf } from '../contract/tier.ts'
import { roomHint } from '../evidence/state-error.ts'
import type { Readiness } from '../gateway/http/parts.ts'

/** Ready if a provider with a wall was proved and the audit log is writable. */
export function readiness(assembly: Assembly): Readiness {
  const { trouble } = assembly.record
  if (trouble !== undefined)
    return { ready: false, code: 'DISK_FULL', reason: trouble, fix: roomHint }
  const proved = assembly.proved().filter(({ provider }) => strengthOf[provider.tier] > 0)
  const walls = proved
    .filter(({ availability }) => availability.available)
    .map(({ provider }) => provider.name)
  const refused = assembly.refused()
  if (walls.length > 0) return { ready: true, walls, ...(refused.length > 0 && { refused }) }
  const broken = proved.map(({ availability }) => availability).find((one) => !one.available)
  return broken
    ? { ready: false, reason: broken.reason, fix: broken.fix }
    : { ready: false, reason: 'No wall has passed its probe yet' }
}
