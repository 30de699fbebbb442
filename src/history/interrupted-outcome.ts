import type { Outcome } from '../contract/outcome.ts'
import { withoutWall } from '../contract/outcome.ts'

/** Outcome of a job whose server died. The record has a closed line for it. */
export function interruptedOutcome(id: string): Outcome {
  return {
    id,
    status: 'failed',
    result: null,
    encoding: 'json',
    error: {
      code: 'INTERRUPTED',
      message: 'The outcome of this job was lost: its server stopped during the run',
    },
    ...withoutWall(),
    profile: { digest: '', explain: [] },
  }
}
