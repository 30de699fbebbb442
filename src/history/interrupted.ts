import { type Outcome, withoutWall } from '../contract/outcome.ts'

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
