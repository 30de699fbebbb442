import { MayflyError } from '../contract/error.ts'
import { whyUnreadable } from '../lib/why-unreadable.ts'

/** Error of a file that cannot be read, for the reason that its system call gave. */
export function unreadable(file: string, cause: unknown): MayflyError {
  const { because, ...hint } = whyUnreadable(file, cause)
  return new MayflyError('USAGE', `Cannot read "${file}": ${because}`, { ...hint, cause })
}
