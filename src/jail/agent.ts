import { fileURLToPath } from 'node:url'
import { openCProgram, type FoundCProgram } from './c-program.ts'

const SOURCES = fileURLToPath(new URL('../../guest/agent', import.meta.url))

const source = { name: 'agent', sources: SOURCES }

/**
 * The compiled agent of a guest. Static where there is a static libc, so that an initrd needs no other file for it; else it
 * needs the libc of its guest.
 */
export async function openAgent(hide: readonly string[] = []): Promise<FoundCProgram> {
  const made = await openInit(hide)
  return 'missing' in made ? await openCProgram({ ...source, hide }) : made
}

/** The static agent alone, for an initrd; missing where there is no static libc. */
export async function openInit(hide: readonly string[] = []): Promise<FoundCProgram> {
  return await openCProgram({ ...source, hide, isStatic: true })
}
