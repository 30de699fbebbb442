import { existsSync } from 'node:fs'
import type { TestContext } from 'node:test'
import { findJailFacts } from '../../src/jail/facts.ts'
import { ordinaryFollows } from '../fixtures/half.ts'
import type { ProcessWish } from './process-wall.ts'

/** Both ways in, started by root (where the tests are) and by an ordinary user. */
export const stands: readonly {
  readonly title: string
  readonly wish: Pick<ProcessWish, 'way' | 'ordinary'>
}[] = [
  { title: 'embedded', wish: { way: 'embedded' } },
  { title: 'embedded, by an ordinary user', wish: { way: 'embedded', ordinary: true } },
  { title: 'bubblewrap', wish: { way: 'bubblewrap' } },
  { title: 'bubblewrap, by an ordinary user', wish: { way: 'bubblewrap', ordinary: true } },
]

/** Why there can be no such wall here; a machine that is known to have all of it never skips. */
export function isMissing(
  t: TestContext,
  { way, ordinary }: Pick<ProcessWish, 'way' | 'ordinary'>,
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
    : way === 'bubblewrap' && !facts.bubblewrap
      ? 'bwrap is missing'
      : undefined
  if (!why) return false
  if (process.env['CI'] === 'true') throw new Error(why)
  t.skip(why)
  return true
}

/** Why no process wall at all can be made here. */
export function unable(program: 'node' | 'python' = 'node'): string | false {
  const { namespaces } = findJailFacts()
  const missing = !namespaces
    ? 'namespaces are forbidden here'
    : program === 'python' && !existsSync('/usr/bin/python3') && 'there is no /usr/bin/python3'
  if (missing && process.env['CI'] === 'true') throw new Error(missing)
  return missing
}
