import * as z from 'zod'
import { status, type Outcome } from '../contract/outcome.ts'
import { interrupted } from './interrupted.ts'
import { parseJson } from '../lib/parse-json.ts'

/**
 * What jobs came to, for whoever asks again: kept encrypted by whoever keeps bodies, for as long as that does. A job
 * is told by its tenant and its id, so that the id of another tenant is like one that never was.
 */
export interface History {
  /** Writes down that a job was taken, so that it is found also when this process does not live to see its end. */
  begin(tenant: string, row: ExecutionRow): void
  /** Keeps an outcome: `text` is it as JSON. */
  end(tenant: string, row: ExecutionRow, text: string): void
  /** The outcome as JSON. One of a job that was begun and never ended says that it was interrupted. */
  outcome(tenant: string, id: string): string | undefined
  /** Newest first. `next` is where to go on; absent where nothing more is kept. */
  list(asked: Asked): Listed
  /** What was written down under an idempotency key of this owner. */
  recall(tenant: string, owner: string): Promised | undefined
  promise(tenant: string, owner: string, promised: Promised): void
  /** Forgets a key whose job came to nothing, so that it may be tried again. */
  release(tenant: string, owner: string): void
}

/** One line of the history. */
export const executionRow = z
  .object({
    id: z.string(),
    status: z.union([status, z.enum(['queued', 'running'])]),
    at: z.string().describe('when it was taken, as ISO 8601'),
    language: z.string().optional(),
    tier: z.string().optional(),
    provider: z.string().optional(),
    executionTime: z.number().optional(),
    threatScore: z.number().optional(),
    behaviorScore: z.number().optional(),
    labels: z.record(z.string(), z.string()),
  })
  .readonly()
export type ExecutionRow = z.infer<typeof executionRow>

/** The job that an idempotency key stands for, and the digest of the body it came with. */
const promised = z.object({ id: z.string(), digest: z.string() }).readonly()
export type Promised = z.infer<typeof promised>

export interface Asked {
  readonly tenant: string
  readonly limit: number
  /** Ids below this one. */
  readonly before?: string | undefined
  /** All of them are to be there. */
  readonly labels: Readonly<Record<string, string>>
}

export interface Listed {
  readonly items: readonly ExecutionRow[]
  readonly next: string | undefined
}

/** Whoever keeps the bytes. */
export interface Keeper {
  put(place: Place, bytes: Uint8Array, at: number): void
  get(place: Place): Uint8Array | undefined
  runs(asked: {
    readonly tenant: string
    readonly name: string
    readonly before: string | undefined
    readonly limit: number
  }): readonly string[]
  forget(tenant: string, run: string): number
}
interface Place {
  readonly tenant: string
  readonly run: string
  readonly name: string
}

/** Lines looked at for one page, at most, when a label is rare. */
export const scannedMax = 1000
const ROW = 'row'
const OUTCOME = 'outcome'
const KEY = 'key'

/** `keeper` is asked when there is something to keep or to find; `date` is milliseconds since 1970. */
export function createHistory(keeper: () => Keeper, date: () => number): History {
  return {
    begin: (tenant, row) => write({ tenant, run: row.id, name: ROW }, JSON.stringify(row)),
    end(tenant, row, text) {
      write({ tenant, run: row.id, name: OUTCOME }, text)
      write({ tenant, run: row.id, name: ROW }, JSON.stringify(row))
    },
    outcome(tenant, id) {
      const text = read({ tenant, run: id, name: OUTCOME })
      if (text !== undefined) return text
      return rowOf(tenant, id) && JSON.stringify(interrupted(id) satisfies Outcome)
    },
    list,
    recall(tenant, owner) {
      const text = read({ tenant, run: owner, name: KEY })
      return text === undefined ? undefined : promised.parse(parseJson(text))
    },
    promise: (tenant, owner, what) =>
      write({ tenant, run: owner, name: KEY }, JSON.stringify(what)),
    release: (tenant, owner) => void keeper().forget(tenant, owner),
  }

  function list({ tenant, limit, before, labels }: Asked): Listed {
    const items: ExecutionRow[] = []
    let last = before
    for (let scanned = 0; scanned < scannedMax;) {
      const ids = keeper().runs({ tenant, name: ROW, before: last, limit })
      for (const id of ids) {
        scanned += 1
        last = id
        const row = rowOf(tenant, id)
        if (row && hasLabels(row, labels)) items.push(row)
        if (items.length === limit) break
      }
      if (items.length === limit) break
      if (ids.length < limit) return { items, next: undefined }
    }
    return { items, next: last }
  }

  /** A job whose end nobody saw is told as what its outcome says. */
  function rowOf(tenant: string, id: string): ExecutionRow | undefined {
    const text = read({ tenant, run: id, name: ROW })
    if (text === undefined) return undefined
    const row = executionRow.parse(parseJson(text))
    const isOpen = row.status === 'queued' || row.status === 'running'
    return isOpen ? { ...row, status: 'failed' } : row
  }

  function write(place: Place, text: string): void {
    keeper().put(place, Buffer.from(text), date())
  }

  function read(place: Place): string | undefined {
    const bytes = keeper().get(place)
    return bytes && Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString()
  }
}

/** Whether a line has all of some labels, with these values. */
export function hasLabels(
  row: Pick<ExecutionRow, 'labels'>,
  labels: Readonly<Record<string, string>>,
): boolean {
  return Object.entries(labels).every(
    ([name, value]) => Object.hasOwn(row.labels, name) && row.labels[name] === value,
  )
}
