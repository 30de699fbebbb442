import { existsSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import type { JailedProgram } from './embedded.ts'
import { ownFolder } from './whole.ts'

/** Folder of Mayfly itself. */
export const ownRoot = fileURLToPath(new URL('../../', import.meta.url))

/** Folders and files of which a joined program needs nothing. */
const SOURCES = ['guest', 'src', 'package.json'].map((place) => path.join(ownRoot, place))

/**
 * The program by its joined file below `joined`, with that in place of its modules; the program as it is where there is
 * none. See join.js.
 */
export function joinedProgram(program: JailedProgram, joined: string | undefined): JailedProgram {
  if (joined === undefined) return program
  const main = path.join(joined, path.relative(ownRoot, program.main))
  if (!existsSync(main)) return program
  const { whole, tree } = program
  if (!whole) return { ...program, main, tree: [...tree.filter(isPackage), joined] }
  const packages = whole.places.filter(({ from }) => isPackage(from))
  const runner = { from: path.join(joined, 'guest'), at: `${ownFolder}/guest` }
  return { ...program, main, whole: { ...whole, places: [...packages, runner] } }
}

const isPackage = (place: string) =>
  !SOURCES.some((source) => place === source || place.startsWith(`${source}${path.sep}`))
