import { suite, test } from 'node:test'
import { sample, seed } from '../hostile/sample.ts'
import { isRunscThere, makeGvisor, noRunsc } from './gvisor.ts'
import { inNode, inPython, inShell } from './guests-of-programs.ts'
import { conformance } from './suite.ts'

/**
 * Draws one language by a seed, because each takes half a minute. Long runs take all, and a poorer machine, which the pass
 * as an ordinary user covers otherwise.
 */
const isLong = process.env['MAYFLY_LONG'] !== undefined
const isRoot = process.getuid?.() === 0
const languages = sample([inNode, inPython, inShell], isLong ? Infinity : 1)

if (isRunscThere()) {
  for (const language of languages)
    conformance(
      `gvisor, ${language.language}, seed ${seed}`,
      () => makeGvisor({}, language.language),
      language,
    )
  if (isLong && isRoot)
    conformance(
      'gvisor, python, without a uid of its own and without cgroups',
      () => makeGvisor({ hide: ['root', 'cgroup'] }, 'python'),
      inPython,
    )
} else
  suite('gvisor', () => {
    test('The provider keeps the contract', { skip: noRunsc }, () => {})
  })
