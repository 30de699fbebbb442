import { fileURLToPath } from 'node:url'
import { openCProgram, type FoundCProgram } from './c-program.ts'

const SOURCES = fileURLToPath(new URL('../../guest/carrier', import.meta.url))

/** The carrier of a guest's streams; static, so that it needs nothing of its image. */
export async function openCarrier(hide: readonly string[] = []): Promise<FoundCProgram> {
  return await openCProgram({ name: 'carrier', sources: SOURCES, hide, isStatic: true })
}
