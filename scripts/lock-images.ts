/**
 * Writes the locks of all recipes anew: `node scripts/lock-images.ts [NAME…]`. Each package gets the newest version of the
 * recipe's suite on the mirror that apt uses, with the size and hash that the suite's signed index names. All are
 * written, or none.
 */
import { execFileSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { ownSource } from '../src/images/apt-source.ts'
import {
  ownMakers,
  ownRecipes,
  readRecipe,
  recipeNames,
  type Recipe,
} from '../src/images/recipe.ts'
import { fileDigest } from '../src/images/store.ts'
import { emptyLists } from './newer-package.ts'

const names = process.argv.slice(2)
const source = ownSource()
if (!source) throw new Error('apt has no Debian mirror here')
const folders = [ownRecipes, ownMakers]
const recipes = folders.flatMap((folder) =>
  recipeNames(folder).map((name) => ({ folder, recipe: readRecipe(folder, name) })),
)
const suites = new Map<string, readonly string[]>()
const root = mkdtempSync(join(tmpdir(), 'mayfly-lock-'))
try {
  const unknown = names.filter((name) => !recipes.some(({ recipe }) => recipe.name === name))
  if (unknown.length > 0) throw new Error(`There is no recipe "${unknown.join('", "')}"`)
  const wanted = recipes.filter(
    ({ recipe: { name } }) => names.length === 0 || names.includes(name),
  )
  writeAllLocks(
    wanted.map(({ folder, recipe }) => ({
      file: join(folder, `${recipe.name}.lock.json`),
      lock: lockOf(recipe),
    })),
  )
} finally {
  rmSync(root, { recursive: true, force: true })
}

/** Locks are renamed into place once all of them are on the disk. */
function writeAllLocks(
  locks: readonly { readonly file: string; readonly lock: ReturnType<typeof lockOf> }[],
): void {
  const draftOf = (file: string) => `${file}.new`
  try {
    for (const { file, lock } of locks)
      writeFileSync(draftOf(file), `${JSON.stringify(lock, undefined, 2)}\n`, { flush: true })
    for (const { file } of locks) renameSync(draftOf(file), file)
  } finally {
    for (const { file } of locks) rmSync(draftOf(file), { force: true })
  }
  for (const { file, lock } of locks) console.log(`${file}: ${lock.packages.length} packages`)
}

function lockOf(recipe: Recipe) {
  const options = suites.getOrInsertComputed(recipe.suite, listsOf)
  const wanted = [...new Set(recipe.packages)].sort()
  const text = execFileSync('apt-cache', [...options, 'show', '--no-all-versions', ...wanted], {
    encoding: 'utf8',
    maxBuffer: 2 ** 24,
  })
  const found = new Map(text.split(/\n\n+/).map((stanza) => [fieldOf(stanza, 'Package'), stanza]))
  const packages = wanted.map((name) => {
    const stanza = found.get(name)
    if (!stanza) throw new Error(`"${recipe.suite}" has no package "${name}"`)
    return {
      name,
      version: fieldOf(stanza, 'Version'),
      source: sourceOf(stanza),
      file: fieldOf(stanza, 'Filename'),
      size: Number(fieldOf(stanza, 'Size')),
      sha256: fieldOf(stanza, 'SHA256'),
    }
  })
  const programs = recipe.programs.map((one) => {
    const manifest = createRequire(import.meta.url).resolve(`${one.package}/package.json`)
    const file = join(dirname(manifest), one.file)
    const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }
    const size = readFileSync(file).length
    return { package: one.package, version, file: one.file, size, sha256: fileDigest(file) }
  })
  const head = { format: 1, recipe: recipe.name, suite: recipe.suite, architecture: 'amd64' }
  return { ...head, packages, ...(programs.length > 0 && { programs }) }
}

function listsOf(suite: string): readonly string[] {
  const folder = join(root, suite)
  const options = [...emptyLists(folder, source!, suite), '-o', 'APT::Architecture=amd64']
  execFileSync('apt-get', ['-qq', ...options, 'update'], { stdio: 'inherit' })
  return options
}

/** Source package, whose version is another than that of the package for rebuilds and collections of packages. */
function sourceOf(stanza: string) {
  const [, name, version] = /^(\S+)(?: \((\S+)\))?$/.exec(fieldOf(stanza, 'Source')) ?? []
  return {
    name: name ?? fieldOf(stanza, 'Package'),
    version: version ?? fieldOf(stanza, 'Version'),
  }
}

function fieldOf(stanza: string, name: string): string {
  return new RegExp(`^${name}: (.+)$`, 'm').exec(stanza)?.[1] ?? ''
}
