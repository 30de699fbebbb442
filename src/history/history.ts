import * as z from 'zod'
import { MayflyError } from '../contract/error.ts'
import { status, type Outcome } from '../contract/outcome.ts'
import { interruptedOutcome } from './interrupted-outcome.ts'
import { parseJson } from '../lib/parse-json.ts'

/**
 * Outcomes of jobs for later requests: encrypted, with the retention of the body store. Jobs are keyed by tenant and
 * id, so another tenant's id is indistinguishable from an unknown one.
 */
export interface History {
  /** Records an accepted job, so that it can be found if this process dies before its end. */
  begin(tenant: string, row: ExecutionRow): void
  /**
   * Stores an outcome, as JSON, and the bytes of artifacts that it only names. Throws MayflyError DISK_FULL if there is no room for
   * them beside that of the record; the outcome is then stored without them if it has room alone, else the row of the ended job.
   */
  end(tenant: string, row: ExecutionRow, text: string, files?: readonly StoredFile[]): void
  /** Outcome as JSON. A job begun and never ended has the outcome "interrupted". */
  outcome(tenant: string, id: string): string | undefined
  /** Bytes of an artifact that was stored beside its outcome. */
  artifact(tenant: string, id: string, path: string): Uint8Array | undefined
  /** Row of an accepted job. */
  row(tenant: string, id: string): ExecutionRow | undefined
  /** Newest first. `next` is the cursor; undefined on the last page. */
  list(asked: HistoryQuery): HistoryPage
  /** Record of an idempotency key of this owner. */
  findKey(tenant: string, owner: string): IdempotencyRecord | undefined
  /** Records a key, or its answer. Throws MayflyError RATE_LIMITED for a new one beyond the keys of a tenant. */
  claimKey(tenant: string, owner: string, record: IdempotencyRecord): void
  /** Deletes a key whose job did not run, so that a retry can run it. */
  releaseKey(tenant: string, owner: string): void
}

/** Artifact of a job. */
export interface StoredFile {
  readonly path: string
  readonly bytes: Uint8Array
}

/** Row of the history. */
export const executionRow = z
  .object({
    id: z.string(),
    status: z.union([status, z.enum(['queued', 'running'])]),
    at: z.string().describe('time of admission, as ISO 8601'),
    language: z.string().optional(),
    tier: z.string().optional(),
    provider: z.string().optional(),
    executionTime: z.number().optional(),
    threatScore: z.number().optional(),
    judged: z.boolean().optional().describe('false: nothing read the code'),
    behaviorScore: z.number().optional(),
    labels: z.record(z.string(), z.string()),
    session: z
      .object({ openedBy: z.string() })
      .readonly()
      .optional()
      .describe('for the life of a session: the principal that opened it'),
  })
  .readonly()
export type ExecutionRow = z.infer<typeof executionRow>

/** Job of an idempotency key, the digest of the request's body, and the answer, as JSON, of a request that is no job. */
const idempotencyRecord = z
  .object({ id: z.string(), digest: z.string(), answer: z.string().optional() })
  .readonly()
export type IdempotencyRecord = z.infer<typeof idempotencyRecord>

export interface HistoryQuery {
  readonly tenant: string
  readonly limit: number
  /** Ids below this one only. */
  readonly before?: string | undefined
  /** All must match. */
  readonly labels: Readonly<Record<string, string>>
  /** True for a job that is left out. */
  readonly isHidden?: (id: string) => boolean
}

export interface HistoryPage {
  readonly items: readonly ExecutionRow[]
  readonly next: string | undefined
}

/** Byte store of the history. */
export interface HistoryStore {
  putAll(bodies: readonly HistoryBody[], at: number): void
  /** Names what has no room for so many bytes: the store within its limit, or the disk beside the record. */
  roomLack(bytes: number): RoomCause | undefined
  /** Names whose idempotency keys are too many for one more of this tenant. */
  keyLack(tenant: string): KeyCause | undefined
  get(place: BodyKey): Uint8Array | undefined
  runs(asked: {
    readonly tenant: string
    readonly name: string
    readonly before: string | undefined
    readonly limit: number
  }): readonly string[]
  forget(tenant: string, run: string): number
}
type RoomCause = 'store' | 'disk'
/** `all`: those of all tenants, of which this one has its share. */
type KeyCause = 'tenant' | 'all'
interface HistoryBody {
  readonly place: BodyKey
  readonly bytes: Uint8Array
}
interface BodyKey {
  readonly tenant: string
  readonly run: string
  readonly name: string
}

/** Rows scanned per page at most: a rare label would scan the whole history. */
export const scannedMax = 1000
const ROW = 'row'
const OUTCOME = 'outcome'
const KEY = 'key'
const ARTIFACT = 'artifact/'
/** Above the ids of all jobs, and below the owners of keys, of which a tenant may have millions. */
const aboveIds = 'exec_~'

/** `openStore` opens the store on first use; `date` is milliseconds since 1970. */
export function createHistory(openStore: () => HistoryStore, date: () => number): History {
  return {
    begin: (tenant, row) => write({ tenant, run: row.id, name: ROW }, JSON.stringify(row)),
    end(tenant, row, text, files = []) {
      const of = { tenant, run: row.id }
      const beside = files.map(({ path, bytes }) => bodyOf(of, `${ARTIFACT}${path}`, bytes))
      const outcome = bodyOf(of, OUTCOME, Buffer.from(text))
      const own = [outcome, bodyOf(of, ROW, Buffer.from(JSON.stringify(row)))]
      putWithRoom(openStore(), { own, beside }, date())
    },
    outcome(tenant, id) {
      const text = read({ tenant, run: id, name: OUTCOME })
      if (text !== undefined) return text
      const row = storedRow(tenant, id)
      // The outcome of an ended job may have been evicted before its row.
      if (!row || !isOpen(row)) return undefined
      return JSON.stringify(interruptedOutcome(id) satisfies Outcome)
    },
    artifact: (tenant, id, path) =>
      openStore().get({ tenant, run: id, name: `${ARTIFACT}${path}` }),
    row: rowOf,
    list,
    findKey(tenant, owner) {
      const text = read({ tenant, run: owner, name: KEY })
      return text === undefined ? undefined : idempotencyRecord.parse(parseJson(text))
    },
    claimKey: (tenant, owner, record) =>
      write(keyPlace(openStore(), tenant, owner), JSON.stringify(record)),
    releaseKey: (tenant, owner) => void openStore().forget(tenant, owner),
  }

  function list({ tenant, limit, before, labels, isHidden }: HistoryQuery): HistoryPage {
    const items: ExecutionRow[] = []
    let last = before ?? aboveIds
    for (let scanned = 0; scanned < scannedMax;) {
      const ids = openStore().runs({ tenant, name: ROW, before: last, limit })
      for (const id of ids) {
        scanned += 1
        last = id
        const row = rowOf(tenant, id)
        if (row && hasLabels(row, labels) && !isHidden?.(id)) items.push(row)
        if (items.length === limit) break
      }
      if (items.length === limit) break
      if (ids.length < limit) return { items, next: undefined }
    }
    return { items, next: last }
  }

  /** Row of a job; one that never ended is reported as failed. */
  function rowOf(tenant: string, id: string): ExecutionRow | undefined {
    const row = storedRow(tenant, id)
    return row && isOpen(row) ? { ...row, status: 'failed' } : row
  }

  function storedRow(tenant: string, id: string): ExecutionRow | undefined {
    const text = read({ tenant, run: id, name: ROW })
    return text === undefined ? undefined : executionRow.parse(parseJson(text))
  }

  function write(place: BodyKey, text: string): void {
    openStore().putAll([{ place, bytes: Buffer.from(text) }], date())
  }

  function read(place: BodyKey): string | undefined {
    const bytes = openStore().get(place)
    return bytes && Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString()
  }
}

function isOpen({ status: is }: ExecutionRow): boolean {
  return is === 'queued' || is === 'running'
}

function bodyOf(of: Omit<BodyKey, 'name'>, name: string, bytes: Uint8Array): HistoryBody {
  return { place: { ...of, name }, bytes }
}

/** A full disk refuses the jobs of every tenant, so artifacts are refused before it is full. */
function putWithRoom(
  store: HistoryStore,
  { own, beside }: Readonly<Record<'own' | 'beside', readonly HistoryBody[]>>,
  at: number,
): void {
  const all = [...beside, ...own]
  const lack = store.roomLack(sizeOf(all))
  if (!lack) return store.putAll(all, at)
  // Without its ended row a job that was begun would be told as interrupted, and run again.
  const ownLack = beside.length > 0 ? store.roomLack(sizeOf(own)) : lack
  store.putAll(ownLack ? own.filter(({ place }) => place.name === ROW) : own, at)
  throw noRoom(ownLack ? 'the outcome of a job' : 'the artifacts of a job', ownLack ?? lack)
}

function sizeOf(bodies: readonly HistoryBody[]): number {
  return bodies.reduce((sum, { bytes }) => sum + bytes.length, 0)
}

/** Causes and ways out. */
const lacks = {
  disk: {
    why: 'the disk has no room for it beside that of the record',
    hint: 'Make room on the disk of the state folder',
  },
  store: {
    why: 'outcomes and artifacts of all tenants are at their limit',
    hint: 'The oldest go each minute; let jobs leave less, by "limits.artifacts" for example',
  },
} as const satisfies Record<RoomCause, object>

function noRoom(what: string, lack: RoomCause): MayflyError {
  const { why, hint } = lacks[lack]
  return new MayflyError('DISK_FULL', `Cannot store ${what}: ${why}`, { hint })
}

/** Place of a key that is stored, or may be. */
function keyPlace(store: HistoryStore, tenant: string, owner: string): BodyKey {
  const place = { tenant, run: owner, name: KEY }
  const lack = store.get(place) ? undefined : store.keyLack(tenant)
  if (lack) throw tooManyKeys(lack)
  return place
}

const keyLacks = {
  tenant: 'this tenant has too many of the last 24 hours',
  all: 'all tenants have too many of the last 24 hours, and this one has its share of them',
} as const satisfies Record<KeyCause, string>

function tooManyKeys(lack: KeyCause): MayflyError {
  const message = `Cannot accept another Idempotency-Key: ${keyLacks[lack]}`
  return new MayflyError('RATE_LIMITED', message, {
    details: { limit: 'idempotency_keys' },
    hint: 'Use keys only for requests that may be sent twice; a request without one is accepted',
    retryAfterMs: keyRetryMs,
  })
}

/** Keys that have expired are deleted each minute. */
const keyRetryMs = 60_000

/** True if a row has all labels with these values. */
export function hasLabels(
  row: Pick<ExecutionRow, 'labels'>,
  labels: Readonly<Record<string, string>>,
): boolean {
  return Object.entries(labels).every(
    ([name, value]) => Object.hasOwn(row.labels, name) && row.labels[name] === value,
  )
}
