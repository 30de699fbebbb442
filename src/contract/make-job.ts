import type { Clock } from './clock.ts'
import type { Job } from './job.ts'
import { newId } from '../lib/id.ts'

/** Adds an id, the owner and the time of acceptance to a validated request. */
export function makeJob<Owner extends object>(
  asked: Job['asked'],
  owner: Owner,
  clock: Clock,
): Pick<Job, 'id' | 'at' | 'asked'> & Owner {
  return { id: newId('exec', clock.date()), ...owner, at: clock.now(), asked }
}
