/**
 * Prints the source tree in figures: `node scripts/house.ts [--vs REF] [--json]`. For each room its files, lines, share
 * of comments, longest function and comments that open with an empty word; then duplicate exported types, import cycles
 * and the files that import most. `--vs` takes the same figures of another commit beside it.
 */
import { execFileSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import { importsOf } from '../tests/tidy/imports.ts'
import {
  duplicateTypes,
  functionLinesMax,
  importCycles,
  type Shape,
  shapesOf,
} from '../tests/tidy/shape.ts'
import { isTest, readTree, root, type Source } from '../tests/tidy/tree.ts'

/** The folders whose code counts as the product's. */
const counted = /^(src|guest|policies|scripts|bin)\//
const fanOutListed = 10

type RoomFigures = ReturnType<typeof figuresOf>
type House = ReturnType<typeof houseOf>

const { values } = parseArgs({ options: { vs: { type: 'string' }, json: { type: 'boolean' } } })
const now = houseOf(readTree())
const before = values.vs === undefined ? undefined : houseOf(treeAt(values.vs))
if (values.json) console.log(JSON.stringify(before ? { before, now } : now, null, 2))
else print(now, before)

function houseOf(sources: readonly Source[]) {
  const own = sources.filter(({ path }) => counted.test(path) && !isTest(path))
  const everywhere = shapesOf(sources)
  const ownPaths = new Set(own.map(({ path }) => path))
  const shapes = everywhere.filter(({ path }) => ownPaths.has(path))
  const rooms = Map.groupBy(shapes, ({ path }) => roomOf(path))
  return {
    rooms: Object.fromEntries(
      [...rooms]
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, of]) => [name, figuresOf(of)]),
    ),
    total: figuresOf(shapes),
    /** Comments and titles of tests, bench and examples too. */
    openersEverywhere: figuresOf(everywhere).openers,
    duplicateTypes: [...duplicateTypes(shapes.filter(({ path }) => path.startsWith('src/')))].map(
      ([name, paths]) => `${name}: ${paths.join(' ')}`,
    ),
    importCycles: importCycles(own).map((group) => group.join(' ')),
    fanOut: fanOutOf(own),
  }
}

function figuresOf(shapes: readonly Shape[]) {
  const sum = (of: (shape: Shape) => number) =>
    shapes.reduce((total, shape) => total + of(shape), 0)
  const [codeLines, commentLines] = [sum((one) => one.codeLines), sum((one) => one.commentLines)]
  return {
    files: shapes.length,
    codeLines,
    commentShare: Math.round((100 * commentLines) / Math.max(1, codeLines + commentLines)),
    longFunctions: sum(
      ({ functions }) => functions.filter(({ lines }) => lines > functionLinesMax).length,
    ),
    openers: sum(({ openers }) => openers.length),
  }
}

function fanOutOf(sources: readonly Source[]): readonly string[] {
  return sources
    .filter(({ path }) => /\.(ts|js)$/.test(path))
    .map((source) => ({ path: source.path, imports: importsOf(source).length }))
    .toSorted((a, b) => b.imports - a.imports)
    .slice(0, fanOutListed)
    .map(({ path, imports }) => `${imports} ${path}`)
}

function roomOf(path: string): string {
  const [first = '', second = '', ...rest] = path.split('/')
  return first === 'src' && rest.length > 0 ? `src/${second}` : first
}

/** The text files of another commit, without touching the work tree. */
function treeAt(ref: string): readonly Source[] {
  const git = (...args: readonly string[]) =>
    execFileSync('git', args, { cwd: root, encoding: 'utf8', maxBuffer: 2 ** 28 })
  const paths = git('ls-tree', '-r', '--name-only', ref).split('\n')
  return paths
    .filter((path) =>
      /^(src|guest|policies|scripts|bin|tests|bench|examples)\/.*\.(ts|js)$/.test(path),
    )
    .filter((path) => !path.startsWith('tests/everyday/programs/'))
    .map((path) => ({ path, text: git('show', `${ref}:${path}`) }))
}

function print(house: House, other: House | undefined): void {
  const rooms = [...new Set([...Object.keys(house.rooms), ...Object.keys(other?.rooms ?? {})])]
  const rows = rooms.sort().map((room) => [room, house.rooms[room], other?.rooms[room]] as const)
  console.log('room                  files   code  comments  long  openers')
  for (const [room, of, was] of [...rows, ['total', house.total, other?.total] as const]) {
    if (was) console.log(lineOf(`${room} (before)`, was))
    if (of) console.log(lineOf(room, of))
  }
  for (const [name, one] of [
    ['before', other],
    ['now', house],
  ] as const) {
    if (!one) continue
    console.log(`\n${name}: ${one.openersEverywhere} empty openers, tests and benches included`)
    list('Exported types of one name', one.duplicateTypes)
    list('Import cycles', one.importCycles)
    list('Most imports', one.fanOut)
  }
}

function lineOf(name: string, of: RoomFigures): string {
  const { files, codeLines, commentShare, longFunctions, openers } = of
  const cells = [files, codeLines, `${commentShare} %`, longFunctions, openers]
  return [
    name.padEnd(22),
    ...cells.map((cell, at) => String(cell).padStart([5, 6, 9, 5, 8][at]!)),
  ].join(' ')
}

function list(title: string, items: readonly string[]): void {
  console.log(`${title}: ${items.length}`)
  for (const item of items) console.log(`  ${item}`)
}
