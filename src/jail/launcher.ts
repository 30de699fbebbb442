import { fileURLToPath } from 'node:url'
import { openCProgram, type FoundCProgram } from './c-program.ts'

const SOURCES = fileURLToPath(new URL('../../guest/launcher', import.meta.url))

/** The launcher's program. Without a compiler, walls are started by the programs of the system. */
export async function openLauncher(hide: readonly string[] = []): Promise<FoundCProgram> {
  if (hide.includes('launcher')) return { missing: 'it is hidden' }
  return await openCProgram({ name: 'launcher', sources: SOURCES, hide })
}
