import assert from 'node:assert/strict'
import { test } from 'node:test'
import { commitFaults } from './commits.ts'

const commit = (message: string, changedLines = 1) => ({
  id: 'a'.repeat(40),
  message,
  changedLines,
})

test('A subject names its room and says in the imperative what the commit does', () => {
  const good = ['warden: reap orphans at start', 'threat, cli: name the file', 'ci: run less']
  assert.deepEqual(commitFaults(good.map((message) => commit(message))), [])
  for (const bad of [
    'Fixes',
    'Warden: reap',
    'warden reap orphans',
    'warden: Reap',
    `a: b${'c'.repeat(100)}`,
  ])
    assert.equal(commitFaults([commit(bad)]).length, 1, bad)
})

test('A commit of more than twenty lines has a body', () => {
  assert.deepEqual(commitFaults([commit('warden: reap', 20)]), [])
  assert.equal(commitFaults([commit('warden: reap', 21)]).length, 1)
  assert.deepEqual(commitFaults([commit('warden: reap\n\nIt leaked.', 500)]), [])
})
