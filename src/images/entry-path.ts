const pathBytesMax = 1024
const nameBytesMax = 255
/** Folders that are links into `usr` in every image, as base-files has them. */
const merged = new Set(['bin', 'lib', 'lib64', 'sbin'])
// oxlint-disable-next-line no-control-regex
const control = /[\0-\x1f\x7f]/

/**
 * Path of an archive entry, relative to the root of the image: `./usr/bin/` becomes `usr/bin`, `./` becomes empty.
 * Throws RangeError for an absolute path, `..`, an empty name, a control character or too many bytes.
 */
export function checkedPath(given: string): string {
  const path = given.replace(/^(?:\.\/)+/, '').replace(/\/$/, '')
  if (path === '' || path === '.') return ''
  if (path.startsWith('/')) throw new RangeError(`its path ${quoted(given)} is absolute`)
  if (control.test(path)) throw new RangeError(`its path ${quoted(given)} has a control character`)
  if (Buffer.byteLength(path) > pathBytesMax) throw new RangeError('a path of it is too long')
  for (const name of path.split('/')) {
    if (name === '..' || name === '.' || name === '')
      throw new RangeError(`its path ${quoted(given)} has a name ${quoted(name)}`)
    if (Buffer.byteLength(name) > nameBytesMax) throw new RangeError('a name of it is too long')
  }
  return path
}

/** Maps `bin`, `lib`, `lib64` and `sbin` below `usr` (usrmerge): dpkg follows these links too. */
export function mergedPath(path: string): string {
  const slash = path.indexOf('/')
  return slash > 0 && merged.has(path.slice(0, slash)) ? `usr/${path}` : path
}

/**
 * Returns the target of a symbolic link at `path` unchanged. An absolute target stays in the image, which is the root
 * of its programs. Throws RangeError for a relative target that climbs above the root.
 */
export function checkedTarget(path: string, target: string): string {
  if (target === '' || control.test(target) || Buffer.byteLength(target) > pathBytesMax)
    throw new RangeError(
      `its link ${quoted(path)} has a target that is empty, too long or unreadable`,
    )
  let depth = target.startsWith('/') ? 0 : path.split('/').length - 1
  for (const name of target.split('/')) {
    if (name === '..') depth -= 1
    else if (name !== '.' && name !== '') depth += 1
    if (depth < 0) throw new RangeError(`its link ${quoted(path)} leaves the image`)
  }
  return target
}

/** Text escaped for a terminal. */
export function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 200))
}
