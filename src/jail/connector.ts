import { fileURLToPath } from 'node:url'
import { openCProgram, type FoundCProgram } from './c-program.ts'

const SOURCES = fileURLToPath(new URL('../../guest/connector', import.meta.url))

/** Process 1 of a container, made without shared libraries. */
export async function openConnector(hide: readonly string[] = []): Promise<FoundCProgram> {
  return await openCProgram({ name: 'connector', sources: SOURCES, isStatic: true, hide })
}
