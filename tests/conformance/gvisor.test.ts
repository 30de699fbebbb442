import { existsSync } from 'node:fs'
import { suite, test } from 'node:test'
import { findProgram } from '../../src/os/find-program.ts'
import { makeGvisor } from './gvisor.ts'
import { inNode, inPython, inShell } from './guests-of-programs.ts'
import { conformance } from './suite.ts'

const isThere = findProgram('runsc') !== undefined || existsSync('/usr/local/lib/mayfly/runsc')
const isRoot = process.getuid?.() === 0

if (isThere) {
  for (const language of [inNode, inPython, inShell])
    conformance(`gvisor, ${language.language}`, () => makeGvisor({}, language.language), language)
  if (isRoot)
    conformance(
      'gvisor, python, without a uid of its own and without cgroups',
      () => makeGvisor({ hide: ['root', 'cgroup'] }, 'python'),
      inPython,
    )
} else
  suite('gvisor', () => {
    test('The provider keeps the contract', { skip: 'runsc is missing' }, () => {})
  })
