import assert from 'node:assert/strict'
import { test } from 'node:test'
import { treeSeed } from './tree-seed.ts'

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
