import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestsOfTests, treeSeed } from './tree-seed.ts'

const tree = [
  { path: 'src/a.ts', text: 'a' },
  { path: 'src/b.ts', text: 'b' },
]

test('The seed of a tree is an integer that its content alone decides', () => {
  assert.match(treeSeed(tree), /^\d{1,10}$/)
  assert.ok(Number(treeSeed(tree)) < 2 ** 31)
  assert.equal(treeSeed(structuredClone(tree)), treeSeed(tree))
  assert.equal(treeSeed(), treeSeed())
})

test('Another text, name or border between files makes another seed', () => {
  const others = [
    [{ path: 'src/a.ts', text: 'A' }, tree[1]!],
    [{ path: 'src/c.ts', text: 'a' }, tree[1]!],
    [tree[0]!],
    [
      { path: 'src/a.ts', text: 'asrc/b.ts' },
      { path: '', text: 'b' },
    ],
  ]
  for (const other of others) assert.notEqual(treeSeed(other), treeSeed(tree))
})

test('The digest of a test changes with all but other tests and documents, and with these where it reads them', () => {
  const texts: Record<string, string> = {
    'src/a.ts': 'a',
    'docs/page.md': 'page',
    'tests/help.ts': 'help',
    'tests/pages.ts': "readFileSync('docs/page.md')",
    'tests/one.test.ts': "import { help } from './help.ts'",
    'tests/two.test.ts': "import { pages } from './pages.ts'",
  }
  const digests = (more: Record<string, string> = {}) => {
    const of = digestsOfTests(
      Object.entries({ ...texts, ...more }).map(([path, text]) => ({ path, text })),
    )
    return ['tests/one.test.ts', 'tests/two.test.ts'].map((file) => of([file]))
  }
  const before = digests()
  const changes = (path: string) => digests({ [path]: `${texts[path]} // more` })
  const isSame = (path: string) => changes(path).map((digest, n) => digest === before[n])
  assert.deepEqual(isSame('src/a.ts'), [false, false])
  assert.deepEqual(isSame('tests/help.ts'), [false, false])
  assert.deepEqual(isSame('docs/page.md'), [true, false])
  assert.deepEqual(isSame('tests/one.test.ts'), [false, false])
  assert.deepEqual(isSame('tests/two.test.ts'), [true, false])
})
