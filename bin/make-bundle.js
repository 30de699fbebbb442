/**
 * Makes Mayfly in one file: `node make-bundle.js` in the cache of this user, for the checkout that it lies in. `pack.ts`
 * calls `bundle` for a package. What runs it, and when: `bundle.js`.
 *
 * esbuild joins the modules. `import.meta.url` of each stays its own, because programs and policies are found by it; the
 * languages of zod's messages but English are left out, a third of its modules. Packages with a native half stay outside.
 */
import { hash } from 'node:crypto'
import {
  chmodSync,
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
import { homeIn, NAME, ownBase, ownRoot, statOf, withHeader } from './bundle.js'

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
const BANNER = `import { createRequire as requireFrom } from 'node:module'
const require = requireFrom(import.meta.url)`

/**
 * @typedef {{ path: string, text: string, sha256: string, stat: string | null }} Input
 *
 * @param {string} root with sources in TypeScript, or in JavaScript where it is being packed
 * @returns {Promise<{ code: string, inputs: readonly Input[], names: readonly string[] }>}
 */
export async function bundle(root) {
  /** @type {Map<string, Input>} */
  const inputs = new Map()
  const extension = lstatSync(join(root, 'src/index.ts'), { throwIfNoEntry: false }) ? 'ts' : 'js'
  const common = /** @type {const} */ ({
    absWorkingDir: root,
    write: false,
    format: 'esm',
    platform: 'node',
    target: 'esnext',
    logLevel: 'silent',
    metafile: true,
  })
  const { outputFiles } = await build({
    ...common,
    stdin: {
      contents: `export { main } from './src/cli/main.${extension}'
export const library = () => import('./src/index.${extension}')`,
      resolveDir: root,
    },
    bundle: true,
    external: NATIVE,
    nodePaths: [join(ownRoot, 'node_modules')],
    plugins: [builtins, english, reading(root, inputs)],
    banner: { js: BANNER },
  })
  const index = join(root, `src/index.${extension}`)
  const { metafile } = await build({ ...common, entryPoints: [index] })
  const names = Object.values(metafile.outputs).flatMap((output) => output.exports)
  const all = [...inputs.values()].sort((a, b) => (a.path < b.path ? -1 : 1))
  return { code: outputFiles[0]?.text ?? '', inputs: all, names }
}

/** @type {import('esbuild').Plugin} */
const english = {
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
  for (let tries = 0; tries < TRIES && !isSettled(file); tries++) await wait(SETTLED_MS)
  const before = isSettled(file) ? statOf(file) : null
  const bytes = readFileSync(file)
  const stat = before === statOf(file) ? before : null
  return { path, text: bytes.toString(), sha256: hash('sha256', bytes, 'hex'), stat }
}

/** @param {string} file */
function isSettled(file) {
  return Date.now() - statSync(file).ctimeMs > SETTLED_MS
}

/** Programs and policies are found beside the module that names them. @param {string} text @param {string} place */
function withOwnUrl(text, place) {
  const url = (/** @type {string} */ to) =>
    `new URL(${JSON.stringify(`../${to}`)}, import.meta.url)`
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
  const { code, inputs, names } = await bundle(root)
  const sources = inputs.map(({ path, sha256 }) => [path, sha256])
  const key = hash('sha256', JSON.stringify(sources), 'hex').slice(0, KEY_CHARACTERS)
  const text = withHeader({ inputs: inputs.map(entryOf), names }, code)
  const making = unfinishedIn(home)
  writeFileSync(making, text, { mode: 0o644, flag: 'wx' })
  chmodSync(making, 0o644)
  const name = `${key}-${hash('sha256', text, 'hex')}`
  renameSync(making, join(home, name))
  for (const other of readdirSync(home))
    if (other !== name && other.startsWith(`${key}-`)) remove(join(home, other))
  keepNewest(home, NAME, name, GENERATIONS_MAX)
  removeGoneRoots(base, ROOT)
  keepNewest(base, ROOT, basename(home), ROOTS_MAX)
}

/** @param {Input} input @returns {readonly [path: string, sha256: string, stat: string | null]} */
function entryOf({ path, sha256, stat }) {
  return [path, sha256, stat]
}

if (import.meta.main) {
  setTimeout(() => process.exit(1), MS_MAX).unref()
  await makeBundle(ownRoot, ownBase())
}
