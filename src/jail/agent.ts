import { fileURLToPath } from 'node:url'
import { openCProgram, type CProgramLookup } from './c-program.ts'

const SOURCES = fileURLToPath(new URL('../../guest/agent', import.meta.url))

const source = { name: 'agent', sources: SOURCES }

/**
 * The compiled agent of a guest: static if this machine has a static libc, so that an initrd needs no other file; else
 * it needs the libc of its guest.
 */
export async function openAgent(hide: readonly string[] = []): Promise<CProgramLookup> {
  const made = await openInit(hide)
  return 'missing' in made ? await openCProgram({ ...source, hide }) : made
}

/** The static agent for an initrd; missing without a static libc. */
export async function openInit(hide: readonly string[] = []): Promise<CProgramLookup> {
  return await openCProgram({ ...source, hide, isStatic: true })
}
