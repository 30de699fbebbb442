import type { DatabaseSync } from 'node:sqlite'
import { MayflyError } from '../contract/error.ts'

/**
 * Refuses a record whose file holds anything but the tables that Mayfly made. A view, a trigger, a virtual table or an
 * index of others decides what a query sees: a view named `audit` shows lines that verify, in place of those that are
 * there. Called before any table is read; `sqlite_schema` itself cannot be a view.
 */
export function assertKnownSchema(db: DatabaseSync, path: string, known: string): void {
  const expected = new Set(known.split(';').map(plainSql).filter(isCreate))
  const rows = db.prepare('SELECT type, name, sql FROM sqlite_schema').all()
  for (const { type, name, sql } of rows)
    if (!expected.delete(plainSql(String(sql))))
      throw unknown(path, `it has a ${String(type)} "${String(name)}" that Mayfly did not make`)
  const [missing] = expected
  if (missing === undefined) return
  const [, name = ''] = /^CREATE TABLE (\w+)/.exec(missing) ?? []
  throw unknown(path, `its table "${name}" is missing`)
}

/** Keeps SQL in the schema of a file from calling functions and virtual tables with side effects. */
export function distrustSchema(db: DatabaseSync): void {
  db.exec('PRAGMA trusted_schema = OFF')
}

const plainSql = (sql: string): string => sql.trim().replaceAll(/\s+/g, ' ')
const isCreate = (sql: string): boolean => sql.startsWith('CREATE TABLE ')

function unknown(path: string, why: string): MayflyError {
  return new MayflyError('STATE', `Cannot trust the record "${path}": ${why}`, {
    hint: 'Keep a copy, and restore it from a backup; or choose another folder with "MAYFLY_STATE".',
  })
}
