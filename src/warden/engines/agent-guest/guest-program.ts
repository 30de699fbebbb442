import { closeSync, readFileSync } from 'node:fs'
import { MayflyError } from '../../../contract/error.ts'
import { reopen } from '../../../jail/c-program.ts'
import { openOwnProgram } from '../../../jail/own-programs.ts'

/**
 * Bytes of a program of guests, compiled if it is missing. Reads the verified file by its descriptor, and closes it: a boot needs only the
 * bytes. Throws MayflyError UNAVAILABLE.
 */
export async function guestProgram(
  name: 'agent' | 'carrier',
  hide: readonly string[],
): Promise<Buffer> {
  const found = await openOwnProgram(name, { hide })
  if ('missing' in found)
    throw new MayflyError('UNAVAILABLE', `Cannot make the ${name} of a guest: ${found.missing}`, {
      hint: 'Install a C compiler with a static libc: apt-get install gcc libc6-dev',
    })
  const fd = reopen(found)
  try {
    return readFileSync(fd)
  } finally {
    closeSync(fd)
    closeSync(found.fd)
  }
}
