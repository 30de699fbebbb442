import { stateGuard } from '../contract/state-guard.ts'
import type { Strength } from '../contract/tier.ts'
import { preparing } from '../lib/prepared.ts'
import { openDatabase } from '../lib/sqlite.ts'

/** Raised floors: code whose later runs need a stronger wall after an anomaly. Never lowers a floor. */
export type RaisedFloorStore = ReturnType<typeof openRaisedFloors>

interface CodeKey {
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
const codesMax = 10_000
const guard = stateGuard('the raised floors')
const schema = `
CREATE TABLE IF NOT EXISTS stronger (
  tenant TEXT NOT NULL, code TEXT NOT NULL, strength INTEGER NOT NULL, until INTEGER NOT NULL, because TEXT NOT NULL,
  PRIMARY KEY (tenant, code)) STRICT`

/** Opens `stronger.db`; `:memory:` keeps nothing on disk. Throws MayflyError STATE. */
export function openRaisedFloors(path: string, countMax = codesMax) {
  const db = guard('open', () => openDatabase(path, { schema }))
  const prepare = preparing(db)
  return {
    /** Raises the floor until `until`; a higher or longer existing one is kept. */
    raise({ tenant, code }: CodeKey, { strength, until, because }: RaisedFloor): void {
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
    /** Floor in force at `date`, if any. */
    floor({ tenant, code }: CodeKey, date: number): RaisedFloor | undefined {
      const sql = 'SELECT * FROM stronger WHERE tenant = ? AND code = ? AND until > ?'
      const row = guard('read', () => prepare(sql).get(tenant, code, Math.floor(date)))
      if (!row) return undefined
      return {
        strength: Number(row['strength']) as Strength,
        until: Number(row['until']),
        because: String(row['because']),
      }
    },
    close(): void {
      if (db.isOpen) db.close()
    },
  }
}
