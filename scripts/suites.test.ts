import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { dependsOnUser, filesOf, suiteNames } from './suites.ts'

const root = join(import.meta.dirname, '..')
const once = suiteNames.flatMap((name) => filesOf(name)).filter((file) => !dependsOnUser(file))

suite('What runs once, whoever the user is', () => {
  test('It starts no program, stands behind no wall and asks for no user; what bites others is their own affair', () => {
    for (const file of once.filter((name) => name !== 'tests/hostile/bites.test.ts'))
      assert.doesNotMatch(
        readFileSync(join(root, file), 'utf8'),
        /from 'node:child_process'|holdWarden|startWarden|Mayfly\.open|JailFacts|getuid|startServer|program\.ts|process-stands/,
        file,
      )
  })

  test('What stands behind walls and doors runs as both users', () => {
    const both = [...filesOf('walls'), ...filesOf('doors')].filter((file) => dependsOnUser(file))
    assert.ok(both.includes('tests/hostile/mayfly.test.ts'))
    assert.ok(both.includes('tests/hostile/process/mayfly.test.ts'))
    const name = /^tests\/(?:walls|conformance|hostile)\//
    const others = ['tests/hostile/bites.test.ts', 'tests/walls/cell-result.prop.test.ts']
    assert.deepEqual(once.filter((file) => name.test(file)).toSorted(), others)
  })

  test('A door that runs once has a gateway alone behind it', () => {
    const doors = once.filter((file) => file.startsWith('tests/doors/'))
    assert.equal(doors.length, 18)
    for (const file of doors)
      assert.doesNotMatch(readFileSync(join(root, file), 'utf8'), /\bMayfly\b|\bassemble\(/, file)
  })
})
