import assert from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { preparing } from './prepared.ts'

test('The same text gives the same statement, and another one another', () => {
  const db = new DatabaseSync(':memory:')
  const prepare = preparing(db)
  assert.equal(prepare('SELECT 1 AS n'), prepare('SELECT 1 AS n'))
  assert.notEqual(prepare('SELECT 1 AS n'), prepare('SELECT 2 AS n'))
  assert.deepEqual(
    [prepare('SELECT 2 AS n').get()?.['n'], prepare('SELECT 1 AS n').get()?.['n']],
    [2, 1],
  )
  db.close()
})

test('A statement survives a change of its table by another one', () => {
  const db = new DatabaseSync(':memory:')
  const prepare = preparing(db)
  db.exec('CREATE TABLE t (n INTEGER)')
  const count = () => prepare('SELECT count(*) AS n FROM t').get()?.['n']
  assert.equal(count(), 0)
  db.exec('ALTER TABLE t ADD COLUMN m TEXT; INSERT INTO t VALUES (1, NULL)')
  assert.equal(count(), 1)
  db.close()
})
