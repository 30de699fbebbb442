import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { expiryDate, type Clock, type Timer } from '../../contract/clock.ts'
import { stateGuard } from '../../contract/state-guard.ts'
import { attempt } from '../../lib/attempt.ts'
import { sha256 } from '../../lib/hash.ts'
import { parseJson } from '../../lib/parse-json.ts'
import { preparing } from '../../lib/prepared.ts'
import { openDatabase, transact } from '../../lib/sqlite.ts'
import { CallJournal, type CallKey, type WrittenJournal } from './journal.ts'

const PAUSED_MS_MAX = 10 * 60_000
const KEPT_MS_MAX = 60 * 60_000
const SWEEP_EVERY_MS = 60_000
const HANDLE_BYTES = 24
/** Callers that have room at the same time, however large the executions of each are. */
const OWNERS_MIN = 4

/** Stored execution with its recorded calls. */
export interface StoredExecution {
  /** Digest of the tool call: only an equal call continues the execution. */
  readonly digest: string
  readonly source: { readonly code: string; readonly language: 'js' | 'ts' }
  readonly journal: CallJournal
  /** Call that waits for the approval of a person. */
  readonly waiting?: CallKey
}

/** Execution that waited for a person, taken out of the store. */
export interface ResumedExecution extends StoredExecution {
  /** Lets it wait again, as it was and until the same time. Throws MayflyError STATE. */
  putBack(): void
}

/** Executions of one caller. All members throw MayflyError STATE if the file cannot be read or written. */
export interface OwnExecutions {
  /** Stores a paused execution; returns a handle that resumes it once. */
  pause(execution: StoredExecution): string
  /** Removes and returns a paused execution; undefined if it belongs to another caller, expired, or was resumed before. */
  resume(handle: string): ResumedExecution | undefined
  /** Stores an ended execution by the id of its run. */
  keep(id: string, execution: StoredExecution): void
  /** Finds an ended execution. */
  find(id: string): StoredExecution | undefined
}

export interface ExecutionBounds {
  readonly entriesMax?: number
  /** Maximum of executions of one caller. */
  readonly ownEntriesMax?: number
  /** Maximum characters of code and answers of all executions. */
  readonly charactersMax?: number
}

type Written = Omit<StoredExecution, 'journal'> & { readonly journal: WrittenJournal }

interface ExecutionRecord {
  readonly name: string
  readonly owner: string
  readonly until: number
  readonly body: string
}

const guard = stateGuard('the executions of code mode')
const schema = `
CREATE TABLE IF NOT EXISTS executions (
  name TEXT PRIMARY KEY, owner TEXT NOT NULL, until INTEGER NOT NULL, characters INTEGER NOT NULL, body TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS executions_of ON executions (owner)`

/**
 * Executions that wait for a person, or are stored for replay: in a database shared by processes, so that a reply counts exactly once,
 * also after a restart. Expired executions are removed, and above a limit the oldest ones, first those of
 * the caller itself, so that none makes others lose theirs. A handle is bound to its caller, and the file
 * contains only the digest of the handle.
 *
 * Mechanism: the file is swept when it is opened and closed, and each minute while it has executions. A sweep truncates
 * the WAL, where SQLite leaves the pages of deleted rows.
 */
export class StoredExecutions {
  readonly #db: DatabaseSync
  readonly #prepare: (sql: string) => StatementSync
  /** Whole milliseconds since 1970. */
  readonly #now: () => number
  readonly #bounds: Required<ExecutionBounds>
  readonly #clock: Clock
  #next: Timer | undefined

  /** `:memory:` stores nothing on disk. Throws MayflyError STATE. */
  constructor(path: string, clock: Clock, bounds: ExecutionBounds = {}) {
    const { entriesMax = 256, ownEntriesMax = 32, charactersMax = 64 * 2 ** 20 } = bounds
    this.#bounds = { entriesMax, ownEntriesMax, charactersMax }
    this.#clock = clock
    const now = expiryDate(clock)
    this.#now = () => Math.floor(now())
    this.#db = guard('open', () => openDatabase(path, { schema, isShredded: true }))
    this.#prepare = preparing(this.#db)
    this.#sweep()
  }

  of(owner: string): OwnExecutions {
    return {
      pause: (execution) => {
        const handle = randomBytes(HANDLE_BYTES).toString('base64url')
        this.#add(pausedAs(handle), owner, execution, PAUSED_MS_MAX)
        return handle
      },
      resume: (handle) => {
        const name = pausedAs(handle)
        const sql =
          'DELETE FROM executions WHERE name = ? AND owner = ? AND until > ? RETURNING body, until'
        const take = () => this.#prepare(sql).get(name, owner, this.#now())
        const row = guard('write', take)
        this.#sweepLater()
        const execution = executionIn(row)
        if (!row || !execution) return undefined
        const [body, until] = [String(row['body']), Number(row['until'])]
        return { ...execution, putBack: () => this.#insert({ name, owner, until, body }) }
      },
      keep: (id, execution) => this.#add(endedAs(id), owner, execution, KEPT_MS_MAX),
      find: (id) => {
        const sql = 'SELECT body FROM executions WHERE name = ? AND owner = ? AND until > ?'
        const find = () => this.#prepare(sql).get(endedAs(id), owner, this.#now())
        return executionIn(guard('read', find))
      },
    }
  }

  close(): void {
    if (!this.#db.isOpen) return
    this.#sweep()
    this.#next?.cancel()
    this.#db.close()
  }

  /** Removes what has expired, from the disk too. A failed sweep is repeated a minute later, or by the next process. */
  #sweep(): void {
    this.#next?.cancel()
    this.#next = undefined
    const isEmpty = attempt(() => {
      this.#prepare('DELETE FROM executions WHERE until <= ?').run(this.#now())
      this.#db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
      return !this.#prepare('SELECT 1 FROM executions').get()
    })
    if (!isEmpty) this.#sweepLater()
  }

  #sweepLater(): void {
    if (this.#next) return
    this.#next = this.#clock.after(SWEEP_EVERY_MS, () => this.#sweep())
    this.#next.asUpkeep?.()
  }

  #add(name: string, owner: string, execution: StoredExecution, msMax: number): void {
    const body = JSON.stringify({ ...execution, journal: execution.journal.written })
    this.#insert({ name, owner, until: this.#now() + msMax, body })
  }

  #insert({ name, owner, until, body }: ExecutionRecord): void {
    guard('write', () =>
      transact(this.#db, () => {
        this.#prepare('DELETE FROM executions WHERE until <= ?').run(this.#now())
        const sql = 'INSERT OR REPLACE INTO executions VALUES (?, ?, ?, ?, ?)'
        this.#prepare(sql).run(name, owner, until, body.length, body)
        this.#removeBeyond(owner)
      }),
    )
    this.#sweepLater()
  }

  /** Evicts the oldest executions above the limits. The newest stays, whatever its size. */
  #removeBeyond(owner: string): void {
    const { entriesMax, ownEntriesMax, charactersMax } = this.#bounds
    const beyond = (which: string) => `DELETE FROM executions WHERE rowid IN (
      SELECT rowid FROM (
        SELECT rowid, row_number() OVER newest AS place, sum(characters) OVER newest AS sum
        FROM executions ${which} WINDOW newest AS (ORDER BY rowid DESC))
      WHERE place > 1 AND (place > ? OR sum > ?))`
    const ownCharactersMax = charactersMax / OWNERS_MIN
    this.#prepare(beyond('WHERE owner = ?')).run(owner, ownEntriesMax, ownCharactersMax)
    this.#prepare(beyond('')).run(entriesMax, charactersMax)
  }
}

export const executionsFile = (stateFolder: string): string => join(stateFolder, 'executions.db')

/** Removes what has expired, where no store may be open. Creates nothing. Throws MayflyError STATE. */
export function sweepExecutions(stateFolder: string, clock: Clock): void {
  const file = executionsFile(stateFolder)
  if (existsSync(file)) new StoredExecutions(file, clock).close()
}

const pausedAs = (handle: string) => `paused ${sha256(handle)}`
const endedAs = (id: string) => `ended ${id}`

function executionIn(
  row: Readonly<Record<string, unknown>> | undefined,
): StoredExecution | undefined {
  if (!row) return undefined
  const { journal, ...others } = parseJson(String(row['body'])) as Written
  return { ...others, journal: new CallJournal(journal) }
}
