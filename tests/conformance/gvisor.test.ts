import { suite, test } from 'node:test'
import { isRunscThere, makeGvisor, noRunsc } from './gvisor.ts'
import { inNode, inPython, inShell } from './guests-of-programs.ts'
import { inJs } from './stand.ts'
import { conformance } from './suite.ts'

/**
 * Part of the long run: each language takes half a minute of both processors of a small machine, and starves what runs
 * beside it. `tests/walls/gvisor.test.ts` is part of every run.
 */
const isLong = process.env['MAYFLY_LONG'] !== undefined
const isRoot = process.getuid?.() === 0

if (isRunscThere() && isLong) {
  for (const language of [inJs, inNode, inPython, inShell])
    conformance(`gvisor, ${language.language}`, () => makeGvisor({}, language.language), language)
  if (isRoot)
    conformance(
      'gvisor, python, without a uid of its own and without cgroups',
      () => makeGvisor({ hide: ['root', 'cgroup'] }, 'python'),
      inPython,
    )
} else
  suite('gvisor', () => {
    test(
      'The provider keeps the contract',
      { skip: isRunscThere() ? 'the long run takes it' : noRunsc },
      () => {},
    )
  })
