import assert from 'node:assert/strict'
import { test } from 'node:test'
import { escapedWord } from '../case.ts'
import { processFamilies, processLanguages, programOf, type ProcessBait } from './case.ts'
import { processCases, processCorpus } from './corpus.ts'

const bait: ProcessBait = {
  name: 'n',
  secret: 's',
  openFile: '/o',
  rootFile: '/r',
  markFile: '/m',
  victim: 1,
  server: 1,
  port: 1,
  udpPort: 1,
  address: '127.0.0.1',
  unixPath: '/u',
  abstract: 'a',
  key: 1,
}

test('The corpus has at least 150 programs against a wall of processes, some in every family', () => {
  assert.ok(processCases.length >= 150, `${processCases.length}`)
  for (const family of processFamilies) assert.ok(processCorpus[family].length >= 10, family)
  for (const language of processLanguages)
    assert.ok(processCases.filter((one) => one.language === language).length >= 30, language)
})

test('Every process case is in its own family under a unique name, with its target', () => {
  for (const family of processFamilies) {
    const names = processCorpus[family].map(({ name }) => name)
    assert.equal(new Set(names).size, names.length, family)
    for (const { name, family: own, because } of processCorpus[family]) {
      assert.equal(own, family, name)
      assert.ok(because.length > 3, name)
    }
  }
})

test('No process program contains the success word in one piece, so that an echo of a source is no evidence', () => {
  for (const { name, language, code, second = '', files = [] } of processCases) {
    for (const body of [code, second, ...files.map(({ content }) => content)])
      assert.ok(!programOf(language, body, bait).includes(escapedWord), name)
  }
})
