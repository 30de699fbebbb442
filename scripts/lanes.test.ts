import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import {
  batchesOf,
  behind,
  lanesOf,
  longest,
  lonely,
  lonelyLast,
  measuring,
  sharesOf,
} from './lanes.ts'
import { filesOf, suiteNames } from './suites.ts'

const root = join(import.meta.dirname, '..')

suite('Lanes', () => {
  test('Every file of every suite is in exactly one lane', () => {
    for (const suiteName of suiteNames) {
      const files = filesOf(suiteName)
      assert.ok(files.length > 0, suiteName)
      for (const lanes of [lanesOf(files), sharesOf(files, 2), sharesOf(files, 1)])
        assert.deepEqual(lanes.flatMap((lane) => lane.files).toSorted(), files)
    }
  })

  test('Measuring files are alone in their lane, which starts with the slowest', () => {
    const files = ['tests/doors/a.test.ts', longest[1]!, behind[0]!, measuring[0]!, longest[0]!]
    assert.deepEqual(lanesOf(files), [
      { files: [measuring[0], behind[0]], atATime: 1 },
      { files: [longest[0], longest[1], 'tests/doors/a.test.ts'], atATime: 2 },
    ])
  })

  test('Every file is in one batch, and those that measure are in none that others run beside', () => {
    const files = [...filesOf('walls'), ...filesOf('doors')]
    const { alone, others } = batchesOf(files)
    assert.deepEqual([...alone, ...others.flat()].toSorted(), files.toSorted())
    for (const file of measuring) assert.ok(alone.includes(file), file)
    assert.deepEqual(others[0], [longest[0]])
  })

  test('Lonely files come last, and are none of the others', () => {
    const files = [...filesOf('walls'), ...filesOf('doors')]
    const { others: left, last } = lonelyLast(files)
    assert.deepEqual(last, lonely)
    assert.deepEqual([...left, ...last].toSorted(), files.toSorted())
    const { alone, others } = batchesOf(left)
    for (const file of lonely) assert.ok(![...alone, ...others.flat()].includes(file), file)
    assert.deepEqual(lonelyLast(left), { others: left, last: [] })
  })

  test('Listed files exist', () => {
    for (const file of [...measuring, ...behind, ...longest, ...lonely])
      assert.ok(existsSync(join(root, file)), file)
  })
})
