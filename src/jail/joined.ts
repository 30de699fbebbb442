import { existsSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import type { JailedProgram } from './embedded.ts'
import { ownFolder } from './whole.ts'

/** Folder of Mayfly itself. */
export const ownRoot = fileURLToPath(new URL('../../', import.meta.url))

/** Folder that `npm pack` fills; ignored in a checkout, which has the sources. */
const MADE = path.join(ownRoot, 'dist')
const isInstalled = !existsSync(path.join(ownRoot, 'src/index.ts'))

/** Joined programs of an installed package; undefined in a checkout. */
export const installedPrograms: string | undefined = isInstalled
  ? path.join(MADE, 'joined')
  : undefined

/** Native binding of isolated-vm in an installed package; undefined if there is none for this platform. */
export function installedNative(): string | undefined {
  const file = path.join(MADE, 'native', `isolated-vm-${process.platform}-${process.arch}.node`)
  return isInstalled && existsSync(file) ? file : undefined
}

/** Folders and files that a joined program replaces. */
const SOURCES = ['guest', 'src', 'package.json'].map((place) => path.join(ownRoot, place))

/**
 * The program with its joined file in place of its modules, see join.js; unchanged if there is none.
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
