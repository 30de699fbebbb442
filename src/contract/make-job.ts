import type { Clock } from './clock.ts'
import { MayflyError } from './error.ts'
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

/** Longest input as JSON, of all calls of a batch together. */
const inputCharsMax = 32 * 2 ** 20

/** Throws MayflyError TOO_LARGE for an input of so many characters. */
export function assertInputFits(chars: number): void {
  if (chars <= inputCharsMax) return
  const bound = `${chars} characters as JSON, of at most ${inputCharsMax}`
  throw new MayflyError('TOO_LARGE', `Cannot take the input: it has ${bound}`, {
    hint: 'Give it as a file',
  })
}
