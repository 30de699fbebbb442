/**
 * Finds Mayfly in one file, which `make-bundle.js` makes: of all modules of the command line, the server and the warden.
 *
 * Problem. A run loads seven hundred modules in two processes; resolving, reading and linking them is a third of its CPU
 * time, with Node's compile cache, too.
 *
 * Mechanism. A package brings its file along, in `dist/`. A checkout has one in the cache of the user that made it, in a folder for
 * each root, named after the content of all sources and of itself. A process that finds none loads the sources, as it
 * always could, and starts the maker. The header lists the sources with the hash of each, and with what `stat` said when
 * it was read: a source whose stat is another is read and compared, so that no edit is missed.
 *
 * Write access to the file is code execution. It counts only where this user or root owns it and each folder above, nobody
 * else may write there, and the bytes read on its descriptor have the hash of its name; and those bytes are what is run,
 * whatever becomes of the file. Root runs none that another user made, and the server of a root warden runs root's.
 *
 * Not handled: a change of a source within one tick of the clock of its file system that keeps its size, and a new file
 * that shadows another at its resolution.
 */
import { codeFile, scriptOf } from './kept-code.js'
import {
  basesHere,
  compare,
  firstOf,
  hashOfBytes,
  isTrusted,
  ownRoot,
  readTrusted,
  readWhole,
  urlOf,
} from './small.js'

const { existsSync, lstatSync, readdirSync } = process.getBuiltinModule('node:fs')
const { basename, dirname, join } = process.getBuiltinModule('node:path')

/** Names of finished bundles: hash of the sources, hash of the file. */
export const NAME = /^([0-9a-f]{16})-([0-9a-f]{64})$/
const MARK = '//mayfly '

/**
 * @typedef {{
 *   readonly inputs: import('./small.js').Inputs,
 *   readonly names: readonly string[],
 * }} Header `names` are those that the library exports
 * @typedef {{
 *   readonly bytes: Buffer, readonly header: Header, readonly key: string, readonly isFresh: boolean,
 * }} Bundle `key` is of the content; `isFresh` is false where a stat has changed and the content has not
 */

/**
 * The bundle of the sources as they are now; undefined if there is none.
 *
 * @param {string} root
 * @param {readonly string[]} bases folders with one for each root
 * @returns {Bundle | undefined}
 */
export function findBundle(root = ownRoot, bases = basesHere()) {
  return firstOf(bases, (base) => {
    const home = homeIn(base, root)
    if (!isTrusted(home)) return undefined
    for (const file of newestFirst(home)) {
      const found = readBundle(file, root)
      if (found) return found
    }
    return undefined
  })
}

/** Reading a bundle of other sources takes as long as reading the right one. @param {string} home */
function newestFirst(home) {
  const names = readdirSync(home).filter((name) => NAME.test(name))
  const timed = names.map(
    (name) => /** @type {const} */ ([lstatSync(join(home, name)).mtimeMs, name]),
  )
  return timed.sort(([a], [b]) => b - a).map(([, name]) => join(home, name))
}

/** @param {string} base @param {string} root */
export function homeIn(base, root) {
  return join(base, hashOfBytes(root).slice(0, 16))
}

/** @param {string} file @param {string} root @returns {Bundle | undefined} */
function readBundle(file, root) {
  const bytes = readTrusted(file, (all) => file.endsWith(`-${hashOfBytes(all)}`))
  if (!bytes) return undefined
  const header = headerOf(bytes)
  const { isSame, isFresh } = compare(header.inputs, root)
  return isSame ? { bytes, header, key: basename(file), isFresh } : undefined
}

/** @param {Buffer} bytes @returns {Header} */
function headerOf(bytes) {
  return JSON.parse(bytes.subarray(MARK.length, bytes.indexOf('\n')).toString())
}

/** @param {Header} header @param {string} code */
export function withHeader(header, code) {
  return `${MARK}${JSON.stringify(header)}\n${code}`
}

/**
 * @typedef {{
 *   readonly main: (argv: readonly string[], keepCode?: () => void) => Promise<void>,
 *   readonly library: () => Promise<object>,
 * }} Mayfly
 *
 * Bundles that this process runs, by URL.
 * @type {Map<string, Mayfly>}
 */
const opened = new Map()

/** @param {string} own @returns {Promise<object>} */
export const openedLibrary = (own) => opened.get(own).library()

/**
 * Runs these very bytes as a script, under a URL of their own in the root, from which packages are found. A provider module
 * that imports the library gets that of the bundle: two copies would not know each other's errors.
 *
 * @param {Bundle} bundle
 * @param {{ readonly root?: string, readonly folder?: string | undefined, readonly use?: string }} options folder of
 *   compiled code
 * @returns {Mayfly & { keep(): void }}
 */
export function openBundle({ bytes, header, key }, { root = ownRoot, folder, use = 'other' } = {}) {
  const { own, library } = urlsIn(root)
  const source = libraryOf(header.names, own)
  const { createRequire, registerHooks } = process.getBuiltinModule('node:module')
  registerHooks({
    resolve: (specifier, context, next) => redirected(next(specifier, context), root),
    load: (url, context, next) =>
      url === library ? { source, format: 'module', shortCircuit: true } : next(url, context),
  })
  const file = codeFile(folder, use, root)
  // esbuild writes ASCII.
  const { script, keep } = scriptOf(bytes.latin1Slice(), { url: own, key, file, read: readWhole })
  const mayfly = script.runInThisContext()(own, createRequire(own))
  opened.set(own, mayfly)
  return { main: mayfly.main, library: mayfly.library, keep }
}

/** @param {import('node:module').ResolveFnOutput} found @param {string} root */
function redirected(found, root) {
  const { library, source } = urlsIn(root)
  return found.url === source ? { ...found, url: library, format: 'module' } : found
}

/** @param {string} root */
function urlsIn(root) {
  return {
    own: urlOf(root, 'bundle/mayfly.js'),
    library: urlOf(root, 'bundle/index.js'),
    source: urlOf(root, 'src/index.ts'),
  }
}

/**
 * Source of a module that hands on what the bundle's library exports.
 *
 * @param {readonly string[]} names
 * @param {string} own specifier of the bundle
 */
function libraryOf(names, own) {
  const all = names.map((name) => `export const ${name} = all.${name}\n`).join('')
  const [here, from] = [import.meta.url, own].map((url) => JSON.stringify(url))
  return `import { openedLibrary } from ${here}\nconst all = await openedLibrary(${from})\n${all}`
}

/** Starts the maker, detached: a short command ends before it. */
export function startMaker() {
  if (!process.getuid || !existsSync(join(ownRoot, 'node_modules/esbuild/package.json'))) return
  const { spawn } = process.getBuiltinModule('node:child_process')
  const child = spawn(process.execPath, [join(dirname(import.meta.filename), 'make-bundle.js')], {
    cwd: '/',
    detached: true,
    env: { XDG_CACHE_HOME: process.env.XDG_CACHE_HOME, HOME: process.env.HOME },
    stdio: 'ignore',
  })
  child.on('error', () => undefined)
  child.unref()
}
