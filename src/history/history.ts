import * as z from 'zod'
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
  /** Stores an outcome, as JSON, and the bytes of artifacts that it only names. */
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
  putAll(bodies: readonly { place: BodyKey; bytes: Uint8Array }[], at: number): void
  get(place: BodyKey): Uint8Array | undefined
  runs(asked: {
    readonly tenant: string
    readonly name: string
    readonly before: string | undefined
    readonly limit: number
  }): readonly string[]
  forget(tenant: string, run: string): number
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

/** `openStore` opens the store on first use; `date` is milliseconds since 1970. */
export function createHistory(openStore: () => HistoryStore, date: () => number): History {
  return {
    begin: (tenant, row) => write({ tenant, run: row.id, name: ROW }, JSON.stringify(row)),
    end(tenant, row, text, files = []) {
      const bodies = [
        ...files.map(({ path, bytes }) => ({
          place: { tenant, run: row.id, name: `${ARTIFACT}${path}` },
          bytes,
        })),
        { place: { tenant, run: row.id, name: OUTCOME }, bytes: Buffer.from(text) },
        { place: { tenant, run: row.id, name: ROW }, bytes: Buffer.from(JSON.stringify(row)) },
      ]
      openStore().putAll(bodies, date())
    },
    outcome(tenant, id) {
      const text = read({ tenant, run: id, name: OUTCOME })
      if (text !== undefined) return text
      return rowOf(tenant, id) && JSON.stringify(interruptedOutcome(id) satisfies Outcome)
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
      write({ tenant, run: owner, name: KEY }, JSON.stringify(record)),
    releaseKey: (tenant, owner) => void openStore().forget(tenant, owner),
  }

  function list({ tenant, limit, before, labels, isHidden }: HistoryQuery): HistoryPage {
    const items: ExecutionRow[] = []
    let last = before
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
    const text = read({ tenant, run: id, name: ROW })
    if (text === undefined) return undefined
    const row = executionRow.parse(parseJson(text))
    const isOpen = row.status === 'queued' || row.status === 'running'
    return isOpen ? { ...row, status: 'failed' } : row
  }

  function write(place: BodyKey, text: string): void {
    openStore().putAll([{ place, bytes: Buffer.from(text) }], date())
  }

  function read(place: BodyKey): string | undefined {
    const bytes = openStore().get(place)
    return bytes && Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString()
  }
}

/** True if a row has all labels with these values. */
export function hasLabels(
  row: Pick<ExecutionRow, 'labels'>,
  labels: Readonly<Record<string, string>>,
): boolean {
  return Object.entries(labels).every(
    ([name, value]) => Object.hasOwn(row.labels, name) && row.labels[name] === value,
  )
}
