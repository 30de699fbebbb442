import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Halves, sampledHalves, wholeAs, wholeHalves } from './halves.ts'
import { groupOf } from './rotation.ts'
import { countsAsRoot, dependsOnUser, filesOf, suiteNames } from './suites.ts'

const files = suiteNames.flatMap((name) => filesOf(name))

/** Files that some seed leaves out are those of `rotation.ts`. */
const isIn = ({ root, ordinary }: Halves) =>
  files.filter((one) => root.has(one) || ordinary.has(one))

test('A sampled run takes each file that is not in turn, by a seed that repeats it', () => {
  const [one, again, other] = ['1', '1', '2'].map((seed) => sampledHalves(files, seed, new Set()))
  for (const file of files) assert.ok(isIn(one!).includes(file) || groupOf(file), file)
  assert.deepEqual(one, again)
  assert.notDeepEqual(one!.ordinary, other!.ordinary)
  assert.match(one!.note, /CI_SEED=1/)
  const rest = sampledHalves(files, '~1', new Set())
  for (const file of isIn(one!).filter(dependsOnUser))
    assert.ok(one!.ordinary.has(file) || rest.ordinary.has(file), file)
})

test('Changed files and those about privileges run as root and as an ordinary user', () => {
  const changed = files.find((file) => file.startsWith('tests/doors/') && dependsOnUser(file))!
  const halves = sampledHalves(files, '1', new Set([changed]))
  for (const file of [changed, 'tests/doors/state-folder.test.ts']) {
    assert.ok(halves.root.has(file), file)
    assert.ok(halves.ordinary.has(file), file)
  }
})

test('A changed file runs whole as one user, whichever the seed draws', () => {
  const changed = files.filter((file) => file.startsWith('tests/doors/zone'))
  const pure = files.find((file) => !dependsOnUser(file))!
  const drawn = ['1', '2', '3', '4', '5', '6'].map((seed) => {
    const halves = sampledHalves(files, seed, new Set([changed[0]!, pure]))
    const [root, ordinary] = (['root', 'ordinary'] as const).map((half) => wholeAs(half, halves))
    assert.deepEqual([...root!, ...ordinary!].toSorted(), [...halves.whole].toSorted())
    assert.ok(root!.includes(pure))
    return root!.includes(changed[0]!)
  })
  assert.equal(new Set(drawn).size, 2)
})

test('A bounded number of changed files runs whole', () => {
  const { whole } = sampledHalves(files, '1', new Set(files))
  assert.ok(whole.size > 0 && whole.size < 10, `${whole.size}`)
})

test('A complete run leaves no user-dependent file out of either half', () => {
  const { root, ordinary } = wholeHalves(files)
  assert.equal(root.size, files.length)
  assert.deepEqual([...ordinary], files.filter(dependsOnUser))
})

test('A long run runs each file as each user that it depends on, and reaches its counts as one of them, swapped by the other seed', () => {
  const [one, other] = ['', '~'].map((seed) => wholeHalves(files, seed))
  const both = files.filter(dependsOnUser)
  assert.deepEqual([...one!.ordinary], both)
  const asOrdinary = both.filter((file) => one!.countsAs!(file) === 'ordinary')
  assert.ok(asOrdinary.length > both.length / 3 && asOrdinary.length < (both.length * 2) / 3)
  for (const file of files) {
    const isFree = dependsOnUser(file) && !countsAsRoot(file)
    const users = [one, other].map((halves) => halves!.countsAs!(file))
    assert.deepEqual(users.toSorted(), isFree ? ['ordinary', 'root'] : ['root', 'root'], file)
  }
  assert.equal(both.filter(countsAsRoot).length, 10)
})
