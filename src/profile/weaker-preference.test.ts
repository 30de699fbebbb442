import assert from 'node:assert/strict'
import { test } from 'node:test'
import { configOf, factsOf } from '../../tests/fixtures/profile-world.ts'
import { overrideConfig } from '../config/override.ts'
import { prefersWeaker } from './weaker-preference.ts'

const isolate = factsOf('isolate', { languages: ['js', 'ts'] })
const machine = factsOf('microvm', { languages: ['node', 'python', 'js'] })
const kernel = factsOf('userkernel')
const walls = [isolate, factsOf('process'), machine, kernel, factsOf('mock', { name: 'mock' })]

const changes: readonly (readonly [from: string, to: string, weaker: boolean, because: string])[] =
  [
    ['auto', 'a-isolate', false, 'as strong as the choice without a preference'],
    ['auto', 'a-process', false, 'stronger'],
    ['a-isolate', 'a-process', false, 'stronger'],
    ['a-process', 'a-process', false, 'the same'],
    ['mock', 'auto', false, 'stronger'],
    ['a-process', 'a-isolate', true, 'weaker'],
    ['a-userkernel', 'a-process', true, 'weaker'],
    ['a-process', 'auto', true, 'weaker for code that an isolate runs'],
    ['auto', 'mock', true, 'no wall'],
    [
      'a-process',
      'a-userkernel',
      true,
      'weaker at a floor of gvisor, which a machine serves cheaper',
    ],
    ['a-process', 'a-microvm', true, 'weaker for TypeScript, which the machine does not run'],
    ['auto', 'not-proved', true, 'unknown'],
    ['not-proved', 'a-process', true, 'unknown'],
  ]
for (const [from, to, weaker, because] of changes) {
  const judged = weaker ? 'widening' : 'no widening'
  test(`S4-16: preferring "${to}" in place of "${from}" is ${judged}: ${because}`, () => {
    const now = configOf({ default_provider: from })
    const patch = { default_provider: to }
    const judge = (before: typeof now, after: typeof now) => prefersWeaker(before, after, walls)
    const change = () => overrideConfig(now, patch, { prefersWeaker: judge })
    if (weaker)
      assert.throws(change, { code: 'FORBIDDEN', details: { widens: ['default_provider'] } })
    else assert.equal(change().default_provider, to)
    const allowed = overrideConfig(now, patch, { prefersWeaker: judge, allowWidening: true })
    assert.equal(allowed.default_provider, to)
  })
}
