import { chmodSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { Strength } from '../contract/tier.ts'
import { makeFolder } from '../lib/make-folder.ts'

/** Raised floors: code whose later runs need a stronger wall after an anomaly. Never lowers a floor. */
export interface RaisedFloorStore {
  /** Raises the floor until `until`; a higher or longer existing one is kept. */
  raise(code: CodeKey, floor: RaisedFloor): void
  /** Floor in force at `date`, if any. */
  floor(code: CodeKey, date: number): RaisedFloor | undefined
  close(): void
}

export interface CodeKey {
  readonly tenant: string
  /** Digest from the code's verdict. */
  readonly code: string
}

export interface RaisedFloor {
  readonly strength: Strength
  /** Milliseconds since 1970. */
  readonly until: number
  readonly because: string
}

/** Limit of codes per tenant; those that expire first are evicted. */
export const codesMax = 10_000
const busyMs = 5000
const schema = `
CREATE TABLE IF NOT EXISTS meta (format INTEGER NOT NULL) STRICT;
INSERT INTO meta SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM meta);
CREATE TABLE IF NOT EXISTS stronger (
  tenant TEXT NOT NULL, code TEXT NOT NULL, strength INTEGER NOT NULL, until INTEGER NOT NULL, because TEXT NOT NULL,
  PRIMARY KEY (tenant, code)) STRICT`

/** Opens `stronger.db`; `:memory:` keeps nothing on disk. Throws MayflyError STATE. */
export function openRaisedFloors(path: string, countMax = codesMax): RaisedFloorStore {
  const inMemory = path === ':memory:'
  const db = guard('open', () => {
    if (!inMemory) makeFolder(dirname(path), 0o700)
    const opened = new DatabaseSync(path, { timeout: busyMs })
    if (!inMemory) chmodSync(path, 0o600)
    opened.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL')
    opened.exec(schema)
    if (opened.prepare('SELECT format FROM meta').get()?.['format'] !== 1)
      throw new Error(`the format of "${path}" is not "1"`)
    return opened
  })
  return {
    raise({ tenant, code }, { strength, until, because }) {
      guard('write', () => {
        db.prepare(
          `INSERT INTO stronger VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
             strength = max(strength, excluded.strength), until = max(until, excluded.until), because = excluded.because`,
        ).run(tenant, code, strength, Math.ceil(until), because.slice(0, 500))
        db.prepare(
          `DELETE FROM stronger WHERE tenant = ? AND code NOT IN
             (SELECT code FROM stronger WHERE tenant = ? ORDER BY until DESC LIMIT ?)`,
        ).run(tenant, tenant, countMax)
      })
    },
    floor({ tenant, code }, date) {
      const sql = 'SELECT * FROM stronger WHERE tenant = ? AND code = ? AND until > ?'
      const row = guard('read', () => db.prepare(sql).get(tenant, code, Math.floor(date)))
      if (!row) return undefined
      return {
        strength: Number(row['strength']) as Strength,
        until: Number(row['until']),
        because: String(row['because']),
      }
    },
    close() {
      if (db.isOpen) db.close()
    },
  }
}

function guard<T>(action: string, work: () => T): T {
  try {
    return work()
  } catch (thrown) {
    throw new MayflyError('STATE', `Cannot ${action} the raised floors: ${messageOf(thrown)}`, {
      hint: 'Let the state folder exist, have room, and belong to the user that runs Mayfly.',
      cause: thrown,
    })
  }
}
