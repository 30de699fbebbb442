import { closeSync, readFileSync } from 'node:fs'
import { MayflyError } from '../../../contract/error.ts'
import { openInit } from '../../../jail/agent.ts'
import { reopen, type CProgramLookup } from '../../../jail/c-program.ts'
import { openCarrier } from '../../../jail/carrier.ts'

/** Bytes of the programs that every guest has, compiled if they are missing. Throws MayflyError UNAVAILABLE. */
export async function compiledParts(hide: readonly string[]) {
  return {
    agent: await compiledAgent(hide),
    carrier: bytesOf('carrier', await openCarrier(hide)),
  }
}

/** Bytes of the static agent. Throws MayflyError UNAVAILABLE. */
export async function compiledAgent(hide: readonly string[]): Promise<Buffer> {
  return bytesOf('agent', await openInit(hide))
}

/** Reads the verified file by its descriptor, and closes it: a boot needs only the bytes. */
function bytesOf(name: string, found: CProgramLookup): Buffer {
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
