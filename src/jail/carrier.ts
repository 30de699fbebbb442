import { fileURLToPath } from 'node:url'
import { openCProgram, type CProgramLookup } from './c-program.ts'

const SOURCES = fileURLToPath(new URL('../../guest/carrier', import.meta.url))

/** The compiled carrier of a guest's streams; static, so that it needs no file of the guest's image. */
export async function openCarrier(hide: readonly string[] = []): Promise<CProgramLookup> {
  return await openCProgram({ name: 'carrier', sources: SOURCES, hide, isStatic: true })
}
