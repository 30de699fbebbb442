import { tryParseJson } from '../lib/parse-json.ts'
import type { ExecutionRow, History } from './history.ts'

/** Origins whose clients may ask for the outcome later. */
const KEPT_ORIGINS: ReadonlySet<unknown> = new Set(['http', 'websocket', 'event', 'queue'])
/** Timestamp prefix of a UUIDv7 id. */
const TIME_OF_ID = /^[a-z]+_([0-9a-f]{12})/

/**
 * Adds a row for a synchronous job whose server died: such a job has no row before its end, so it is created from
 * the closed audit line, and its outcome is `INTERRUPTED`.
 */
export function recordInterrupted(
  history: History,
  {
    run,
    tenant,
    bodyText,
  }: Readonly<Record<'run' | 'tenant', string | null>> & { readonly bodyText: string },
): void {
  if (run === null || tenant === null || !KEPT_ORIGINS.has(originOf(bodyText))) return
  if (history.outcome(tenant, run) === undefined) history.begin(tenant, rowOf(run))
}

function rowOf(id: string): ExecutionRow {
  const at = Number.parseInt(TIME_OF_ID.exec(id)?.[1] ?? '0', 16)
  return { id, status: 'running', at: new Date(at).toISOString(), labels: {} }
}

function originOf(bodyText: string): unknown {
  return (tryParseJson(bodyText) as { readonly origin?: unknown } | null | undefined)?.origin
}
