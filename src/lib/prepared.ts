import type { DatabaseSync, StatementSync } from 'node:sqlite'

/**
 * Prepares each statement of a database once: preparing costs as much as running a short one. The texts must be a
 * bounded set, because there is no eviction. Not for `iterate`: two iterations of one statement disturb each other.
 */
export function preparing(db: DatabaseSync): (sql: string) => StatementSync {
  const statements = new Map<string, StatementSync>()
  return (sql) => {
    let statement = statements.get(sql)
    if (!statement) statements.set(sql, (statement = db.prepare(sql)))
    return statement
  }
}
