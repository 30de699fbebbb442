import { MayflyError } from '../contract/error.ts'
import type { ClosedPath, FolderBind } from '../contract/folder.ts'
import { isBelow } from '../lib/is-below.ts'
import { grantPolicy } from './policy.ts'

/** Paths that settings hide, and paths in them that the settings show again; canonical. */
export interface HiddenPaths {
  readonly hidden: readonly string[]
  readonly shownAgain: readonly string[]
}

/** Drops binds of hidden paths, such as programs in HOME. */
export function withoutHidden(
  binds: readonly FolderBind[],
  { hidden, shownAgain }: HiddenPaths,
): readonly FolderBind[] {
  const deepest = (path: string, places: readonly string[]) =>
    Math.max(0, ...places.filter((place) => isBelow(path, place)).map(({ length }) => length))
  return binds.filter(({ path }) => deepest(path, hidden) <= deepest(path, shownAgain))
}

/**
 * Closes paths for `denyRead`. A hidden path outside of all binds, such as HOME, contains only what the settings show
 * again, so it needs no closing; any other is closed as a whole. Throws MayflyError USAGE if the folder itself would
 * be hidden.
 */
export function closedByHiding(
  { hidden, shownAgain }: HiddenPaths,
  folder: string,
  binds: readonly FolderBind[],
): readonly ClosedPath[] {
  const shown = [...binds.map(({ path }) => path), ...grantPolicy().system.shown]
  return hidden.flatMap((place) => {
    const isShown = shown.some((one) => isBelow(place, one))
    const again = shownAgain.filter((one) => isBelow(one, place))
    const holdsFolder = isBelow(folder, place)
    if (place === '/' || (holdsFolder && (isShown || !again.some((one) => isBelow(folder, one)))))
      throw closesAll(place)
    const isOpen = isShown ? again.includes(place) : again.length > 0
    return isOpen ? [] : [{ path: place, to: 'all' as const }]
  })
}

/** Notes about paths that stay closed although settings show them again. */
export function notesOfHiding(
  { shownAgain }: HiddenPaths,
  closed: readonly ClosedPath[],
): readonly string[] {
  return shownAgain
    .filter((one) => closed.some(({ path }) => isBelow(one, path)))
    .map((one) => `"${one}" stays closed: it lies in what "denyRead" of the settings closes`)
}

function closesAll(place: string): MayflyError {
  return new MayflyError(
    'USAGE',
    `Cannot apply "denyRead" to "${place}": it includes this folder, or the system`,
    { hint: 'Name folders below it, or name this folder in "allowRead"' },
  )
}
