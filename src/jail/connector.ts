import { fileURLToPath } from 'node:url'
import { openCProgram, type CProgramLookup } from './c-program.ts'

const SOURCES = fileURLToPath(new URL('../../guest/connector', import.meta.url))

/** The compiled process 1 of a container, statically linked. */
export async function openConnector(hide: readonly string[] = []): Promise<CProgramLookup> {
  return await openCProgram({ name: 'connector', sources: SOURCES, isStatic: true, hide })
}
