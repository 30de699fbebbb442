/**
 * Transpiles TypeScript and JSX inside the job's own wall: the transformer is native code that may crash, and a
 * source of three lines may need hundreds of megabytes, so it runs within the job's limits.
 */
import { createRequire, SourceMap } from 'node:module'
import { decorators } from './decorators.js'
import { withNamespaces } from './namespaces.js'

const require = createRequire(import.meta.url)
/** @type {typeof import('oxc-transform').transformSync | undefined} */
let transformSync

/** Loads the native transformer; workers call it before they give up file access. */
export function loadTransformer() {
  transformSync ??= native().transformSync
  return transformSync
}

/**
 * Loads the native addon by its package name. The package's own loader first detects the C library, which takes three times
 * as long as the load. @returns {typeof import('oxc-transform')}
 */
function native() {
  const { platform, arch } = process
  for (const libc of ['gnu', 'musl'])
    try {
      return require(`@oxc-transform/binding-${platform}-${arch}-${libc}`)
    } catch {
      // Not installed, or built for another C library.
    }
  return require('oxc-transform')
}

/** Compiler options from `tsconfig.json`. @typedef {import('./config.js').Options} Options */

/** Suffixes that need transpilation. */
export const TYPED = /\.(?:[cm]?ts|[jt]sx)$/

/** The text may be a function body or a CommonJS file, parsed as a module: both may return. */
const RECOVERED = /^A 'return' statement can only be used/

/**
 * @param {string} source
 * @param {string} path names the dialect by its suffix; TypeScript unless that says JSX
 * @param {Options} options
 * @returns {{ code: string, map: Map } | { error: TypeScriptError }}
 */
export function transform(source, path, options) {
  const result = loadTransformer()(path, source, {
    lang: path.endsWith('.tsx') ? 'tsx' : path.endsWith('.jsx') ? 'jsx' : 'ts',
    sourceType: path.endsWith('.cts') ? 'commonjs' : 'module',
    sourcemap: true,
    target: 'esnext',
    typescript: options.verbatim ? { onlyRemoveTypeImports: true } : {},
    // Both kinds of decorators become helper calls; the helper decides the semantics.
    decorator: { legacy: true, emitDecoratorMetadata: options.metadata },
    helpers: { mode: 'External' },
    ...(options.assigns && {
      assumptions: { setPublicClassFields: true },
      typescript: { removeClassFieldsWithoutInitializer: true },
    }),
    ...(options.jsx && { jsx: options.jsx }),
  })
  const error = result.errors.find(
    ({ severity, message }) =>
      /** @type {string} */ (severity) === 'Error' && !RECOVERED.test(message),
  )
  if (error || !result.map) return { error: errorOf(source, path, error) }
  const uses = result.code.includes('babelHelpers.')
  const { mappings } = result.map
  const code = withNamespaces(source, result.code)
  const own = { code, map: { version: 3, sources: [path], names: [], mappings } }
  return uses ? below(decorators(options.legacy), own) : own
}

/** @typedef {{ version: number, sources: string[], names: string[], mappings: string }} Map */
/** @typedef {{ message: string, line: number, column: number }} TypeScriptError */

/** Shifts the code below a preceding text. @param {string} before @param {{ code: string, map: Map }} own */
export function below(before, { code, map }) {
  const lines = ';'.repeat(before.split('\n').length)
  return { code: `${before}\n${code}`, map: { ...map, mappings: lines + map.mappings } }
}

/** Returns a function from generated to original positions; lines and columns start at 1. @param {Map} map */
export function placesOf(map) {
  const sourceMap = new SourceMap(/** @type {any} */ (map))
  /** @param {number} line @param {number} column */
  return (line, column) => {
    const origin = sourceMap.findEntry(line - 1, column - 1)
    if (!Object.hasOwn(origin, 'originalLine')) return undefined
    return { line: origin.originalLine + 1, column: origin.originalColumn + 1 }
  }
}

/** @param {string} source @param {string} path @param {any} error @returns {TypeScriptError} */
function errorOf(source, path, error) {
  // Offsets are in UTF-16 units.
  const before = source.slice(0, error?.labels?.[0]?.start ?? 0)
  const lines = before.split('\n')
  const message = error?.message ?? `Cannot read "${path}" as TypeScript`
  return { message, line: lines.length, column: (lines.at(-1) ?? '').length + 1 }
}
