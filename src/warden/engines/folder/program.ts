import { fileURLToPath } from 'node:url'
import {
  cFiles,
  openCProgram,
  type CProgramSource,
  type CProgramLookup,
} from '../../../jail/c-program.ts'

const SOURCES = fileURLToPath(new URL('../../../../guest/folder', import.meta.url))
/** Shared C files: the steps of a jail, and the facts about a calling process. */
const SHARED = [
  'launcher/steps.c',
  'launcher/steps.h',
  'sentinel/caller.c',
  'sentinel/caller.h',
  'sentinel/wall.h',
].map((file) => fileURLToPath(new URL(`../../../../guest/${file}`, import.meta.url)))

/** The program of folder walls; `folder` and `hide` are for tests. */
export function openFolderProgram(
  options: Partial<Pick<CProgramSource, 'folder' | 'hide'>> = {},
): Promise<CProgramLookup> {
  return openCProgram({ name: 'folder', sources: [...cFiles(SOURCES), ...SHARED], ...options })
}
