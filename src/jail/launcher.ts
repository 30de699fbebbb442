import { fileURLToPath } from 'node:url'
import { openCProgram, type CProgramLookup } from './c-program.ts'

const SOURCES = fileURLToPath(new URL('../../guest/launcher', import.meta.url))

/** The compiled launcher. Without a compiler, unshare and setpriv start walls instead. */
export async function openLauncher(hide: readonly string[] = []): Promise<CProgramLookup> {
  if (hide.includes('launcher')) return { missing: 'it is hidden' }
  return await openCProgram({ name: 'launcher', sources: SOURCES, hide })
}
