import { MayflyError } from '../../contract/error.ts'
import { findProgram } from '../../os/find-program.ts'

/** Path of a program without which `what` cannot be started. Throws MayflyError UNAVAILABLE if it is missing or hidden. */
export function neededProgram(
  name: string,
  { what, hint, hide }: { what: string; hint: string; hide: readonly string[] },
): string {
  const found = hide.includes(name) ? undefined : findProgram(name)
  if (found) return found
  const message = `Cannot start ${what}: the program "${name}" is missing`
  throw new MayflyError('UNAVAILABLE', message, { hint })
}
