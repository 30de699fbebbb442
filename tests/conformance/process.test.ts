import { suite, test } from 'node:test'
import { findProgram } from '../../src/os/find-program.ts'
import { jailKinds, type JailKind } from '../../src/contract/jail-kind.ts'
import { makeDraw } from '../fixtures/drawn.ts'
import { inNode, inPython, inShell } from './guests-of-programs.ts'
import { makeProcesses } from './process.ts'
import { inJs, type GuestLanguage } from './stand.ts'
import { conformance } from './suite.ts'

/**
 * Each jail implementation, in each language. In short runs realm and shell run in one implementation each. The
 * poorer machine has neither root nor cgroups; a second pass as an ordinary user covers that for real.
 */
const languages: readonly GuestLanguage[] = [inJs, inNode, inPython, inShell]
const isLong = process.env['MAYFLY_LONG'] !== undefined
const isRoot = process.getuid?.() === 0
const poorer = { hide: ['root', 'cgroup'] }

for (const jailKind of jailKinds.filter(isThere))
  for (const language of languages) {
    if (!isLong && isElsewhere(jailKind, language)) continue
    const name = `${jailKind}, ${language.language}`
    conformance(
      name,
      () => makeProcesses(jailKind, {}, language.language),
      language,
      makeDraw(name),
    )
    if (isLong && isRoot && language !== inJs)
      conformance(
        `${name}, as an ordinary user`,
        () => makeProcesses(jailKind, poorer, language.language),
        language,
      )
  }

function isElsewhere(jailKind: JailKind, language: GuestLanguage): boolean {
  const other = jailKinds.find((one) => one !== jailKind && isInstalled(one))
  if (!other || (language !== inJs && language !== inShell)) return false
  return jailKind === (language === inJs ? 'embedded' : 'bubblewrap')
}

function isInstalled(jailKind: JailKind): boolean {
  return jailKind !== 'bubblewrap' || findProgram('bwrap') !== undefined
}

function isThere(jailKind: JailKind): boolean {
  if (isInstalled(jailKind)) return true
  suite('bubblewrap', () => {
    test('The provider keeps the contract', { skip: 'bwrap is missing' }, () => {})
  })
  return false
}
