import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sessionFamilies } from './case.ts'
import { sessionCases, sessionCorpus } from './corpus.ts'

test('The corpus has at least sixty programs that use the time between execs, some in every family', () => {
  assert.ok(sessionCases.length >= 60, `${sessionCases.length}`)
  for (const family of sessionFamilies) assert.ok(sessionCorpus[family].length >= 5, family)
  for (const language of ['python', 'node', 'bash', 'sh'])
    assert.ok(sessionCases.filter((one) => one.language === language).length >= 5, language)
})

test('Every session program is in its own family under a unique name, with its target', () => {
  assert.equal(new Set(sessionCases.map(({ name }) => name)).size, sessionCases.length)
  for (const family of sessionFamilies)
    for (const { name, family: own, because, cells } of sessionCorpus[family]) {
      assert.equal(own, family, name)
      assert.ok(because.length > 10 && cells.length > 0, name)
    }
})
