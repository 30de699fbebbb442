import { existsSync } from 'node:fs'
import type { TestContext } from 'node:test'
import { findJailFacts } from '../../src/jail/facts.ts'
import { isRunscThere, noRunsc } from '../conformance/gvisor.ts'
import { ordinaryFollows } from '../fixtures/half.ts'
import type { ProcessWish } from './process-wall.ts'

/** Both jail kinds, started by root (if the tests run as root) and by an ordinary user. */
export const stands: readonly {
  readonly title: string
  readonly wish: Pick<ProcessWish, 'jailKind' | 'ordinary'>
}[] = [
  { title: 'embedded', wish: { jailKind: 'embedded' } },
  { title: 'embedded, by an ordinary user', wish: { jailKind: 'embedded', ordinary: true } },
  { title: 'bubblewrap', wish: { jailKind: 'bubblewrap' } },
  { title: 'bubblewrap, by an ordinary user', wish: { jailKind: 'bubblewrap', ordinary: true } },
]

/** Reason why there is no such wall here; false in CI, where all walls must be available. */
export function isMissing(
  t: TestContext,
  { jailKind, ordinary }: Pick<ProcessWish, 'jailKind' | 'ordinary'>,
) {
  const isRoot = process.getuid?.() === 0
  const elsewhere = ordinary && (isRoot ? ordinaryFollows : 'this is an ordinary user already')
  if (elsewhere) {
    t.skip(elsewhere)
    return true
  }
  const facts = findJailFacts(ordinary ? ['root'] : [])
  const why = !facts.namespaces
    ? 'namespaces are forbidden here'
    : jailKind === 'bubblewrap' && !facts.bubblewrap
      ? 'bwrap is missing'
      : undefined
  if (!why) return false
  if (process.env['CI'] === 'true') throw new Error(why)
  t.skip(why)
  return true
}

/**
 * Skips a test whose job no wall took, if the process wall that it needs, or gVisor where that was asked for, is not
 * here; elsewhere such an outcome is a failure.
 */
export function hasNoWall(
  t: TestContext,
  { status, error }: { readonly status?: string; readonly error?: { message: string } | undefined },
  { program = 'node', provider = 'embedded' }: Asked = {},
): boolean {
  if (status !== 'unavailable') return false
  const why = unable(program) || (provider === 'gvisor' && !isRunscThere() && noRunsc)
  if (why) t.skip(why)
  else if (provider !== 'bubblewrap' || !isMissing(t, { jailKind: provider }))
    throw new Error(`The wall is here, and did not take the job: ${error?.message}`)
  return true
}

interface Asked {
  readonly program?: 'node' | 'python'
  readonly provider?: string
}

/** Reason why no process wall can be made here. */
export function unable(program: 'node' | 'python' = 'node'): string | false {
  const { namespaces } = findJailFacts()
  const missing = !namespaces
    ? 'namespaces are forbidden here'
    : program === 'python' && !existsSync('/usr/bin/python3') && 'there is no /usr/bin/python3'
  if (missing && process.env['CI'] === 'true') throw new Error(missing)
  return missing
}
