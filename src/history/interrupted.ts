import { type Outcome, withoutWall } from '../contract/outcome.ts'
import { parseJson } from '../lib/parse-json.ts'
import type { ExecutionRow, History } from './history.ts'

/** The end of a job whose server went away under it. The record has closed it too, with a line of its own. */
export function interrupted(id: string): Outcome {
  return {
    id,
    status: 'failed',
    result: null,
    encoding: 'json',
    error: {
      code: 'INTERRUPTED',
      message: 'The end of this job was lost: its server stopped under it',
    },
    ...withoutWall(),
    profile: { digest: '', explain: [] },
  }
}

/** Doors whose jobs somebody may ask for later. */
const KEPT_ORIGINS: ReadonlySet<unknown> = new Set(['http', 'websocket', 'event', 'queue'])
/** An id is a UUIDv7, which begins with its milliseconds. */
const TIME_OF_ID = /^[a-z]+_([0-9a-f]{12})/

/**
 * A job that waited for its answer has no row before its end. Where its server died the record closes its line, and from
 * that it gets one, so that it is found as interrupted like any other.
 */
export function keepInterrupted(
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
  try {
    return (parseJson(bodyText) as { readonly origin?: unknown } | null)?.origin
  } catch {
    return undefined
  }
}
