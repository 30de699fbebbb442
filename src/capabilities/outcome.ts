import { type Outcome, withoutWall } from '../contract/outcome.ts'
import { type OutcomeError } from '../contract/outcome-error.ts'
import { canonicalJson } from '../lib/canonical-json.ts'
import { sha256 } from '../lib/hash.ts'
import { encodeTagged } from '../lib/tagged.ts'
import { newId } from '../lib/id.ts'
import { parseJson } from '../lib/parse-json.ts'

interface Facts {
  readonly name: string
  /** Milliseconds since 1970. */
  readonly date: number
  readonly executionTime: number
}

/** Outcome of a call without sandbox and without audit line: `tier` is `none`. */
export function safeOutcome(
  facts: Facts,
  end: { readonly value: unknown } | { readonly error: OutcomeError },
): Outcome {
  const isOk = 'value' in end
  const { text, encoding } = encodeTagged(isOk ? end.value : null)
  const { name, date, executionTime } = facts
  const because = `capability "${name}" is declared safe`
  const explain = [{ field: 'isolated', value: false, because }]
  const unwalled = withoutWall()
  return {
    id: newId('exec', date),
    status: isOk ? 'ok' : 'error',
    result: parseJson(text),
    encoding,
    ...(!isOk && { error: end.error }),
    ...unwalled,
    tier: 'none',
    provider: 'in-process',
    profile: { digest: `sha256:${sha256(canonicalJson(explain))}`, explain },
    metrics: { ...unwalled.metrics, executionTime },
  }
}
