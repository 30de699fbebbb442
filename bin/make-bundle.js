/**
 * Makes Mayfly in one file: `node make-bundle.js` in the cache of this user, for the checkout that it lies in. `pack.ts`
 * makes that of a package. What runs it, and when: `bundle.js`.
 *
 * esbuild joins the modules. `import.meta.url` of each stays its own, because programs and policies are found by it; the
 * languages of zod's messages but English are left out, a third of its modules. Packages with a native half stay outside.
 */
import { hash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, extname, join, relative, sep } from 'node:path'
import process from 'node:process'
import { setTimeout as wait } from 'node:timers/promises'
import { build } from 'esbuild'
import {
  beMaker,
  keepNewest,
  linkRoot,
  remove,
  removeGoneRoots,
  unfinishedIn,
} from '../src/jail/generations.js'
import { builtins, NATIVE } from '../src/jail/join.js'
import { findBundle, homeIn, NAME, withHeader } from './bundle.js'
import { findSmall, indexOf, ownBase, ownRoot, rootOf, SMALL_NAME, statOf } from './small.js'

const MS_MAX = 60_000
/** Limit for each root. */
const GENERATIONS_MAX = 3
const ROOTS_MAX = 16
const KEY_CHARACTERS = 16
const ROOT = /^[0-9a-f]{16}$/
/** Age from which the stat of a file tells each later write apart: ticks of file systems take up to 10 ms. */
const SETTLED_MS = 50
const TRIES = 20
const SOURCE = /\.(?:[cm]?[jt]s|json)$/
const LOADERS = { '.ts': 'ts', '.mts': 'ts', '.cts': 'ts', '.json': 'json' }
/**
 * Gives the exports of an entry from a function of the file's URL and `require`, to a script and to CommonJS. V8 takes a function
 * expression in parentheses as one that is called soon; it would read the body of an arrow function twice, 0.1 s for the large one.
 */
export const SCRIPT = /** @type {const} */ ({
  format: 'cjs',
  define: { 'import.meta.url': 'ownUrl' },
  banner: {
    js: '"use strict";(open=>typeof module=="object"?module.exports=open:open)((function(ownUrl,require){const module={exports:{}};',
  },
  footer: { js: 'return module.exports}))' },
})

/**
 * @typedef {{ path: string, text: string, sha256: string, stat: string | null }} Input
 *
 * @param {string} root
 * @returns {Promise<{ code: string, inputs: readonly Input[], names: readonly string[] }>}
 */
export async function bundle(root) {
  /** @type {Map<string, Input>} */
  const inputs = new Map()
  const { outputFiles } = await build({
    ...common(root),
    ...SCRIPT,
    stdin: {
      contents: `export { main } from './src/cli/main.ts'
export const library = () => import('./src/index.ts')`,
      resolveDir: root,
    },
    bundle: true,
    external: NATIVE,
    plugins: [builtins, english, reading(root, inputs)],
  })
  const names = await namesOf(root, 'src/index.ts')
  return { code: asAscii(outputFiles[0]?.text ?? ''), inputs: await sorted(inputs, root), names }
}

/**
 * The code with escapes in place of other characters, which esbuild leaves in regular expressions: V8 keeps text with one of
 * them at two bytes a character, and takes three times as long to read it. Throws Error for a character that no expression
 * without the flag `u` can name.
 *
 * @param {string} code
 */
export function asAscii(code) {
  // oxlint-disable-next-line no-control-regex
  return code.replaceAll(/[^\0-\x7f]/g, (character) => {
    if (character >= '\ud800' && character <= '\udfff')
      throw new Error(`Cannot write U+${character.charCodeAt(0).toString(16)} as one escape`)
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}

/** Names that a module exports. @param {string} root @param {string} entry */
export async function namesOf(root, entry) {
  const { metafile } = await build({ ...common(root), entryPoints: [join(root, entry)] })
  return Object.values(metafile.outputs).flatMap((output) => output.exports)
}

/**
 * The same for a plain `mayfly run` by a server; undefined for a root without that part.
 *
 * @param {string} root
 * @returns {ReturnType<typeof bundle> | undefined}
 */
export function smallBundle(root) {
  const entry = 'src/cli/attach-plain.ts'
  return existsSync(join(root, entry)) ? joinSmall(root, entry) : undefined
}

/** @param {string} root @param {string} entry */
async function joinSmall(root, entry) {
  /** @type {Map<string, Input>} */
  const inputs = new Map()
  const { outputFiles } = await build({
    ...common(root),
    entryPoints: [join(root, entry)],
    bundle: true,
    ...SCRIPT,
    minifySyntax: true,
    minifyWhitespace: true,
    plugins: [shortHashes, builtins, apart(root), reading(root, inputs)],
  })
  return {
    code: asAscii(outputFiles[0]?.text ?? ''),
    inputs: await sorted(inputs, root),
    names: [],
  }
}

/** @param {string} root */
export const common = (root) =>
  /** @type {const} */ ({
    absWorkingDir: root,
    write: false,
    format: 'esm',
    platform: 'node',
    target: 'esnext',
    logLevel: 'silent',
    metafile: true,
  })

/**
 * Sources, and the maker where it is of the root: another one writes another format.
 *
 * @param {ReadonlyMap<string, Input>} inputs
 * @param {string} root
 */
async function sorted(inputs, root) {
  const maker = 'bin/make-bundle.js'
  const file = join(root, maker)
  const all = [...inputs.values(), ...(existsSync(file) ? [await read(file, maker)] : [])]
  return all.sort((a, b) => (a.path < b.path ? -1 : 1))
}

/** In place of `node:crypto`: what a small bundle hashes is short. @type {import('esbuild').Plugin} */
const shortHashes = {
  name: 'short-hashes',
  setup({ onResolve }) {
    onResolve({ filter: /^node:crypto$/ }, () => ({ path: join(ownRoot, 'bin/short-hashes.js') }))
  },
}

/** Parts that a small bundle has and loads when they are needed. */
const PARTS =
  /^(?:\.\/(?:report|start-ahead|stdin|name-flag|unreadable)|\.\.\/warden\/start-server)\.[jt]s$/

/**
 * In place of any other part that is loaded when it is needed: leaves the run to the large bundle. @param {string} root
 * @returns {import('esbuild').Plugin}
 */
function apart(root) {
  return {
    name: 'apart',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^\./ }, ({ kind, path }) => {
        if (kind !== 'dynamic-import' || PARTS.test(path)) return undefined
        return { path, namespace: 'apart' }
      })
      onLoad({ filter: /./, namespace: 'apart' }, ({ path }) => ({
        contents: `import { OwnRunNeeded } from './src/cli/attachment.ts'
throw new OwnRunNeeded('a small bundle has no "${path}"')`,
        resolveDir: root,
      }))
    },
  }
}

/** @type {import('esbuild').Plugin} */
export const english = {
  name: 'english',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /\/locales\/index\.js$/ }, ({ path, importer }) =>
      importer.includes(`${sep}zod${sep}`) ? { path, namespace: 'no-locales' } : undefined,
    )
    onLoad({ filter: /./, namespace: 'no-locales' }, () => ({ contents: 'export {}' }))
  },
}

/**
 * Reads each source, so that what is hashed is what is joined. @param {string} root @param {Map<string, Input>} inputs
 * @returns {import('esbuild').Plugin}
 */
function reading(root, inputs) {
  const real = realpathSync(root)
  return {
    name: 'reading',
    setup({ onLoad }) {
      onLoad({ filter: SOURCE, namespace: 'file' }, async ({ path }) => {
        const place = relative(path.startsWith(real) ? real : root, path)
        const input = await read(path, place)
        inputs.set(place, input)
        const isOurs = /^(src|guest|bin)\//.test(place)
        const contents = isOurs ? withOwnUrl(input.text, place) : input.text
        return { contents, loader: LOADERS[extname(path)] ?? 'js' }
      })
    },
  }
}

/** Leaves the stat out where a write may go unseen. @param {string} file @param {string} path @returns {Promise<Input>} */
async function read(file, path) {
  const before = await settledStat(file)
  const bytes = readFileSync(file)
  const stat = before === statOf(file) ? before : null
  return { path, text: bytes.toString(), sha256: hash('sha256', bytes, 'hex'), stat }
}

/** Null where a write may go unseen. @param {string} file */
async function settledStat(file) {
  for (let tries = 0; tries < TRIES && !isSettled(file); tries++) await wait(SETTLED_MS)
  return isSettled(file) ? statOf(file) : null
}

/** @param {string} file */
function isSettled(file) {
  return Date.now() - statSync(file).ctimeMs > SETTLED_MS
}

/**
 * Programs and policies are found beside the module that names them.
 *
 * @param {string} text
 * @param {string} place
 * @param {string} up from the folder of the bundle to the root
 */
export function withOwnUrl(text, place, up = '../') {
  const url = (/** @type {string} */ to) => `new URL(${JSON.stringify(up + to)}, import.meta.url)`
  const path = (/** @type {string} */ to) =>
    `process.getBuiltinModule('node:url').fileURLToPath(${url(to)})`
  return text
    .replace(/\bimport\.meta\.url\b/g, `${url(place)}.href`)
    .replace(/\bimport\.meta\.dirname\b/g, path(dirname(place)))
    .replace(/\bimport\.meta\.filename\b/g, path(place))
}

/**
 * Leaves the bundle of a checkout in its folder below `base`, and nothing there while another makes it. Throws Error where
 * others may write there. @param {string} root @param {string} base
 */
export async function makeBundle(root, base) {
  const home = homeIn(base, root)
  for (const folder of [base, home]) {
    mkdirSync(folder, { recursive: true, mode: 0o755 })
    const { uid, mode } = lstatSync(folder)
    if (uid !== process.getuid?.() || (mode & 0o022) !== 0)
      throw new Error(`the folder "${folder}" is not this user's alone`)
  }
  if (!beMaker(home)) return
  linkRoot(home, root)
  // First, because it is made in a tenth of the time.
  if (!findSmall(root, [base])?.isFresh) await leaveSmall(root, base)
  if (!findBundle(root, [base])?.isFresh) await leaveLarge(root, home)
  removeGoneRoots(base, ROOT)
  for (const name of readdirSync(base)) if (isOfGoneRoot(name)) remove(join(base, name))
  keepNewest(base, ROOT, basename(home), ROOTS_MAX)
}

/** @param {string} name */
function isOfGoneRoot(name) {
  const root = rootOf(name)
  return root !== undefined && !existsSync(root)
}

/** Only one is kept, because it is soon made. @param {string} root @param {string} base */
async function leaveSmall(root, base) {
  const place = indexOf(root)
  const joined = place === undefined ? undefined : await smallBundle(root)
  if (!joined) return
  const home = homeIn(base, root)
  const { code, inputs } = joined
  const name = `small-${hash('sha256', code, 'hex')}`
  const file = join(home, name)
  leave(file, code, home)
  const stat = await settledStat(file)
  const index = { home: basename(home), name, stat, inputs: inputs.map(entryOf) }
  leave(join(base, place), JSON.stringify(index), home)
  keepNewest(home, SMALL_NAME, name, 1)
}

/** Puts a whole file in its place. @param {string} file @param {string} text @param {string} home */
function leave(file, text, home) {
  const making = unfinishedIn(home)
  writeFileSync(making, text, { mode: 0o644, flag: 'wx', flush: true })
  chmodSync(making, 0o644)
  renameSync(making, file)
}

/** @param {string} root @param {string} home */
async function leaveLarge(root, home) {
  const { code, inputs, names } = await bundle(root)
  const sources = inputs.map(({ path, sha256 }) => [path, sha256])
  const key = hash('sha256', JSON.stringify(sources), 'hex').slice(0, KEY_CHARACTERS)
  const text = withHeader({ inputs: inputs.map(entryOf), names }, code)
  const name = `${key}-${hash('sha256', text, 'hex')}`
  leave(join(home, name), text, home)
  for (const other of readdirSync(home))
    if (other !== name && other.startsWith(`${key}-`)) remove(join(home, other))
  keepNewest(home, NAME, name, GENERATIONS_MAX)
}

/** @param {Input} input @returns {readonly [path: string, sha256: string, stat: string | null]} */
function entryOf({ path, sha256, stat }) {
  return [path, sha256, stat]
}

if (import.meta.main) {
  setTimeout(() => process.exit(1), MS_MAX).unref()
  await makeBundle(ownRoot, ownBase())
}
