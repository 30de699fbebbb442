import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { playImage } from '../../tests/fixtures/images.ts'
import { MayflyError } from '../contract/error.ts'
import { ownMakers, ownRecipes, readLock, readRecipe, recipeNames } from './recipe.ts'

const root = mkdtempSync(join(tmpdir(), 'mayfly-recipe-'))
after(() => rmSync(root, { recursive: true, force: true }))
const { recipes, recipe, lock } = playImage(root, 'played', { one: Buffer.from('a') })
const architecture = lock.architecture as 'amd64'

suite('Recipes and locks', () => {
  test('Each recipe of Mayfly has a lock of the same packages', () => {
    assert.deepEqual(recipeNames(ownRecipes), [
      'database-client',
      'image-processing',
      'kernel',
      'minimal',
      'node',
      'python',
      'python-data',
      'web',
    ])
    assert.deepEqual(recipeNames(ownMakers), ['maker'])
    for (const folder of [ownRecipes, ownMakers])
      for (const name of recipeNames(folder)) {
        const read = readRecipe(folder, name)
        const locked = readLock(folder, read, 'amd64').packages.map(({ name: one }) => one)
        assert.deepEqual(locked.toSorted(), read.packages.toSorted())
      }
  })

  test('No file of recipes names a host', () => {
    const files = readdirSync(ownRecipes, { recursive: true, encoding: 'utf8' })
    const texts = files
      .filter((name) => name.endsWith('.json'))
      .map((name) => readFileSync(join(ownRecipes, name), 'utf8'))
    for (const text of texts) assert.doesNotMatch(text, /https?:|\.(org|com|net)\b/)
  })

  test('A missing recipe is NOT_FOUND, also given as a path', () => {
    for (const name of ['gone', '../recipes/played', 'Played', ''])
      assert.throws(() => readRecipe(recipes, name), ended('NOT_FOUND'))
  })

  const wrongRecipes: Readonly<Record<string, unknown>> = {
    'an unknown field': { ...recipe, script: 'id' },
    'another name': { ...recipe, name: 'other' },
    'another format': { ...recipe, format: 2 },
    'a package that is a flag': { ...recipe, packages: ['-o=x'] },
    'no package': { ...recipe, packages: [] },
    'a suite that is a path': { ...recipe, suite: '../x' },
    'a file that climbs': { ...recipe, files: { '../x': '' } },
    'a link whose name is a path': {
      ...recipe,
      links: [{ folder: 'usr', to: 'a', names: ['a/b'] }],
    },
    'an absolute folder': { ...recipe, folders: ['/x'] },
  }
  for (const [what, value] of Object.entries(wrongRecipes))
    test(`A recipe with ${what} is INVALID`, () => {
      writeFileSync(
        join(recipes, 'wrong.recipe.json'),
        JSON.stringify({
          name: 'wrong',
          ...(value as object),
          ...(what === 'another name' ? {} : { name: 'wrong' }),
        }),
      )
      assert.throws(() => readRecipe(recipes, 'wrong'), ended('INVALID'))
    })

  const [locked] = lock.packages
  const wrongLocks: Readonly<Record<string, unknown>> = {
    'another suite': { ...lock, suite: 'sid' },
    'another recipe': { ...lock, recipe: 'other' },
    'a package less': { ...lock, packages: [] },
    'a short hash': { ...lock, packages: [{ ...locked, sha256: 'ab' }] },
    'a file that climbs': { ...lock, packages: [{ ...locked, file: '../a.deb' }] },
    'an address': { ...lock, packages: [{ ...locked, file: 'http://x/a.deb' }] },
    'a size without end': { ...lock, packages: [{ ...locked, size: 2 ** 40 }] },
  }
  for (const [what, value] of Object.entries(wrongLocks))
    test(`A lock with ${what} is INVALID`, () => {
      const file = join(recipes, 'played.lock.json')
      writeFileSync(file, JSON.stringify(value))
      const read = readRecipe(recipes, 'played')
      assert.throws(() => readLock(recipes, read, architecture), ended('INVALID'))
      writeFileSync(file, JSON.stringify(lock))
    })

  test('A lock for another architecture is UNAVAILABLE, and malformed JSON INVALID', () => {
    const other = architecture === 'amd64' ? 'arm64' : 'amd64'
    const read = readRecipe(recipes, 'played')
    assert.throws(() => readLock(recipes, read, other), ended('UNAVAILABLE'))
    writeFileSync(join(recipes, 'wrong.recipe.json'), '{')
    assert.throws(() => readRecipe(recipes, 'wrong'), ended('INVALID'))
  })
})

function ended(code: string) {
  return (thrown: unknown) => thrown instanceof MayflyError && thrown.code === code
}
