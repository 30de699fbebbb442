import type { Clock } from './clock.ts'
import type { Job } from './job.ts'
import { newId } from '../lib/id.ts'

/** Identity, owner and moment of a job whose request was checked. */
export function makeJob<Owner extends object>(
  asked: Job['asked'],
  owner: Owner,
  clock: Clock,
): Pick<Job, 'id' | 'at' | 'asked'> & Owner {
  return { id: newId('exec', clock.date()), ...owner, at: clock.now(), asked }
}
