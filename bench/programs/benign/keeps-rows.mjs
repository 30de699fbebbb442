import { DatabaseSync } from 'node:sqlite'

/** A database in a file. */
export default () => {
  const db = new DatabaseSync('rows.db')
  db.exec('CREATE TABLE rows (n INTEGER PRIMARY KEY, word TEXT)')
  const add = db.prepare('INSERT INTO rows VALUES (?, ?)')
  db.exec('BEGIN')
  for (let n = 0; n < 2000; n++) add.run(n, `word ${n % 17}`)
  db.exec('COMMIT')
  return db.prepare('SELECT word, count(*) AS n FROM rows GROUP BY word ORDER BY word').all().length
}
