import { fileURLToPath } from 'node:url'
import { openCProgram, type FoundCProgram } from './c-program.ts'

const SOURCES = fileURLToPath(new URL('../../guest/agent', import.meta.url))

/**
 * The compiled agent of a guest. Static where there is a static libc, so that an initrd needs no other file for it; else it
 * needs the libc of its guest.
 */
export async function openAgent(hide: readonly string[] = []): Promise<FoundCProgram> {
  const source = { name: 'agent', sources: SOURCES, hide }
  const made = await openCProgram({ ...source, isStatic: true })
  return 'missing' in made ? await openCProgram(source) : made
}
