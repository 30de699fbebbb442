import { isAbsolute, join } from 'node:path'
import type { FolderBind } from '../contract/folder.ts'
import { isBelow } from '../lib/is-below.ts'
import { existingPath, isFolder } from './paths.ts'
import { grantPolicy } from './policy.ts'

const PLACES_MAX = 48

/**
 * Read-only binds of the program folders in PATH that would otherwise be hidden. Below HOME they follow the table in
 * `policies/folder.json`, which adds the files that those programs need; elsewhere it is the folder itself.
 */
export function toolBinds(path: string, home: string | undefined): readonly FolderBind[] {
  const entries = path.split(':').filter((entry) => isAbsolute(entry))
  const places = entries.flatMap((entry) => {
    const real = existingPath(entry)
    return real === undefined || !isFolder(real) ? [] : placesOf(real, home)
  })
  const unique = [...new Set(places)].filter((place) => !isShown(place))
  const outer = unique.filter(
    (place) => !unique.some((other) => other !== place && isBelow(place, other)),
  )
  return outer.slice(0, PLACES_MAX).map((place) => ({ path: place, isWritable: false }))
}

function placesOf(named: string, home: string | undefined): readonly string[] {
  // Links in `.bin` lead to the packages in `node_modules`.
  const entry = named.replace(/(\/node_modules)\/\.bin$/, '$1')
  if (home === undefined || !isBelow(entry, home)) return isAbove(entry, home) ? [] : [entry]
  if (entry === home) return []
  const rows = grantPolicy().tools.folders.filter(({ from }) => isBelow(entry, join(home, from)))
  const shown = rows.flatMap(({ shows }) => shows.map((place) => join(home, place)))
  return (shown.length > 0 ? shown : [entry]).flatMap((place) => existingPath(place) ?? [])
}

/** True for an entry of PATH that contains HOME. */
function isAbove(entry: string, home: string | undefined): boolean {
  return home !== undefined && isBelow(home, entry)
}

function isShown(place: string): boolean {
  return grantPolicy().system.shown.some((folder) => isBelow(place, folder))
}
