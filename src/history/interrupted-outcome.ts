import type { Outcome } from '../contract/outcome.ts'
import { withoutWall } from '../contract/outcome.ts'

/** Outcome of a job whose server died, or whose end could not be recorded. The record has a closed line for it, or its end later. */
export function interruptedOutcome(id: string, why = 'its server stopped during the run'): Outcome {
  return {
    id,
    status: 'failed',
    result: null,
    encoding: 'json',
    error: {
      code: 'INTERRUPTED',
      message: `The outcome of this job was lost: ${why}`,
    },
    ...withoutWall(),
    profile: { digest: '', explain: [] },
  }
}
