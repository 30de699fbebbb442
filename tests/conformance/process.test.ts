import { suite, test } from 'node:test'
import { findProgram } from '../../src/jail/facts.ts'
import { ways, type Way } from '../../src/contract/way.ts'
import { inNode, inPython, inShell } from './guests-of-programs.ts'
import { makeProcesses } from './process.ts'
import { inJs, type GuestLanguage } from './stand.ts'
import { conformance } from './suite.ts'

/** Each way, in each language; the poorer machine has neither root nor control groups. */
const languages: readonly GuestLanguage[] = [inJs, inNode, inPython, inShell]
const isRoot = process.getuid?.() === 0
const poorer = { hide: ['root', 'cgroup'] }

for (const way of ways.filter(isThere))
  for (const language of languages) {
    const name = `${way}, ${language.language}`
    conformance(name, () => makeProcesses(way, {}, language.language), language)
    if (language !== inJs && isRoot)
      conformance(
        `${name}, as an ordinary user`,
        () => makeProcesses(way, poorer, language.language),
        language,
      )
  }

function isThere(way: Way): boolean {
  if (way !== 'bubblewrap' || findProgram('bwrap')) return true
  suite('bubblewrap', () => {
    test('It keeps the contract', { skip: 'bwrap is missing' }, () => {})
  })
  return false
}
