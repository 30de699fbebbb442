/**
 * All of Mayfly in an installed package, once for each thread: `dist/mayfly.js` hands on what this opens, and the command line
 * opens it with compiled code of earlier processes.
 *
 * An application that loads the library may keep compiled code by means of Node's, and source maps count for modules alone: then
 * Node loads the file.
 */
import { codeFile, scriptOf } from './kept-code.js'
import { ownRoot, readWhole, statOf, urlOf } from './small.js'

/**
 * @typedef {{
 *   readonly main: (argv: readonly string[], keepCode?: () => void) => Promise<void>,
 *   readonly part: (name: string) => object,
 *   readonly keep?: () => void,
 * }} Packed
 * @type {Packed | undefined}
 */
let opened

/**
 * @param {{ readonly folder?: string | undefined, readonly use?: string }} options folder of compiled code
 * @returns {Packed}
 */
export function openPacked({ folder, use = 'other' } = {}) {
  return (opened ??= open(folder, use))
}

/** @param {string | undefined} folder @param {string} use @returns {Packed} */
function open(folder, use) {
  const { createRequire } = process.getBuiltinModule('node:module')
  const { readFileSync } = process.getBuiltinModule('node:fs')
  const path = `${ownRoot}dist/mayfly.cjs`
  const url = urlOf(ownRoot, 'dist/mayfly.cjs')
  const require = createRequire(url)
  const file = codeFile(folder, use, ownRoot)
  if (file === undefined || process.sourceMapsEnabled) return require(path)(url, require)
  const key = statOf(path) ?? ''
  const source = readFileSync(path).latin1Slice()
  const { script, keep } = scriptOf(source, { url, key, file, read: readWhole })
  return { ...script.runInThisContext()(url, require), keep }
}
