import { suite, test } from 'node:test'
import { drawn, isSampled } from '../fixtures/drawn.ts'
import { inNode, inPython, inShell } from './guests-of-programs.ts'
import { makeMicroVm, noMachines } from './microvm.ts'
import { inJs } from './stand.ts'
import { chapters, conformance } from './suite.ts'

/**
 * Drawn in every run, whole in the long one: each case takes a machine, and under emulation each machine takes seconds of
 * processor time.
 */
const isLong = process.env['MAYFLY_LONG'] !== undefined
const isRoot = process.getuid?.() === 0
const titles = chapters.flatMap(({ cases }) => cases.map(({ title }) => title))
const languages = isLong ? [inJs, inNode, inPython, inShell] : [inJs, isSampled ? inPython : inNode]

if (noMachines === undefined) {
  for (const language of languages) {
    const taken = new Set(
      isLong ? titles : drawn(titles, language.language, language === inJs ? 5 : 14),
    )
    const name = `microvm, ${language.language}`
    conformance(
      name,
      () => makeMicroVm({}, language.language),
      language,
      (title) => taken.has(title),
    )
  }
  if (isRoot && isLong)
    conformance(
      'microvm, python, without a uid of its own and without cgroups',
      () => makeMicroVm({ hide: ['root', 'cgroup'] }, 'python'),
      inPython,
    )
} else
  suite('microvm', () => {
    test('The provider keeps the contract', { skip: noMachines }, () => {})
  })
