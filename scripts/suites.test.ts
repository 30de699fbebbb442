import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { dependsOnUser, filesOf, isQuick, suiteNames } from './suites.ts'

const root = join(import.meta.dirname, '..')
const once = suiteNames.flatMap((name) => filesOf(name)).filter((file) => !dependsOnUser(file))

suite('Tests that run once, independent of the user', () => {
  test('A pure test starts no program, uses no wall and no user; attacks on libraries are exempt', () => {
    for (const file of once.filter((name) => name !== 'tests/hostile/bites.test.ts'))
      assert.doesNotMatch(
        readFileSync(join(root, file), 'utf8'),
        /from 'node:child_process'|holdWarden|startWarden|Mayfly\.open|JailFacts|getuid|startServer|program\.ts|process-stands/,
        file,
      )
  })

  test('Tests with walls and doors run as both users', () => {
    const both = [...filesOf('walls'), ...filesOf('doors')].filter((file) => dependsOnUser(file))
    assert.ok(both.includes('tests/hostile/mayfly.test.ts'))
    assert.ok(both.includes('tests/hostile/process/mayfly.test.ts'))
    const name = /^tests\/(?:walls|conformance|hostile)\//
    const others = ['tests/hostile/bites.test.ts', 'tests/walls/cell-result.prop.test.ts']
    assert.deepEqual(once.filter((file) => name.test(file)).toSorted(), others)
  })

  test('A door test that runs once uses only a gateway', () => {
    const doors = once.filter((file) => file.startsWith('tests/doors/'))
    assert.equal(doors.length, 18)
    for (const file of doors)
      assert.doesNotMatch(readFileSync(join(root, file), 'utf8'), /\bMayfly\b|\bassemble\(/, file)
  })
})

test('Three of four files of pure tests are in smoke, among them the rules of the source', () => {
  const [all, quick] = [filesOf('unit'), filesOf('unit').filter(isQuick)]
  assert.ok(quick.length > all.length * 0.75, `${quick.length} of ${all.length}`)
  assert.ok(quick.includes('tests/tidy.test.ts'))
  const slow = all.filter((file) => !isQuick(file) && !/\.prop\.|^tests\/fuzz\//.test(file))
  assert.equal(slow.length, 55, 'each file of the list exists')
})

test('Hooks of a pure test run around the tests of its own file alone, though files share a process', () => {
  const shared = [...filesOf('unit'), ...filesOf('sim')].filter((file) => {
    const text = readFileSync(join(root, file), 'utf8')
    return /^(?:before|after)Each\(/m.test(text) && !text.includes('= ownHooks(')
  })
  assert.deepEqual(shared, [])
})

test('S3-36: a name selects the tests of both classes of S3, for the commands that S3 gives', () => {
  const chosen = suiteNames.flatMap((name) => filesOf(name, 'secure-sandbox'))
  assert.deepEqual(chosen, [
    'tests/doors/secure-sandbox-detector.test.ts',
    'tests/doors/secure-sandbox.test.ts',
  ])
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  assert.equal(scripts['test:unit'], 'node scripts/ci.ts unit')
  assert.equal(scripts['test:coverage'], 'node scripts/ci.ts coverage')
})
