/**
 * Module hooks for TypeScript in a Node program's own process: files of the job are transpiled when loaded, and
 * names resolve as in the compiler.
 */
import fs from 'node:fs'
import { isBuiltin, registerHooks } from 'node:module'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import vm from 'node:vm'
import { filesNamed, indexesOf } from './candidates.js'
import { mapped, readConfig } from './config.js'
import { namesOf } from './names.js'
import { TYPED, below, transform } from './transform.js'

const NOT_FOUND = ['ERR_MODULE_NOT_FOUND', 'MODULE_NOT_FOUND', 'ERR_UNSUPPORTED_DIR_IMPORT']
/** V8's errors for a module parsed as a script. */
const MODULE_ONLY =
  /Unexpected token 'export'|Cannot use import statement outside a module|Cannot use 'import.meta'|await is only valid/
const PARAMETERS = ['exports', 'require', 'module', '__filename', '__dirname']
const NAMES = 'mayfly:names?'

/** @param {{ work: string, main: string, isTyped: boolean }} job */
export function readTypeScript({ work, main, isTyped }) {
  const options = readConfig((place) => readBelow(work, place))
  const mainUrl = pathToFileURL(main).href
  const maps = options.paths.length > 0 || options.baseUrl !== undefined
  process.setSourceMapsEnabled(true)
  registerHooks({ resolve, load })

  /** @type {import('node:module').ResolveHookSync} */
  function resolve(specifier, context, next) {
    if (specifier === NAMES) {
      const url = `${NAMES}${encodeURIComponent(context.parentURL ?? '')}`
      return { url, format: 'module', shortCircuit: true }
    }
    const found = resolveFile(specifier, context, next)
    // TypeScript imports JSON without an import attribute.
    const isJson = found.url.endsWith('.json') && context.conditions.includes('import')
    return isJson ? { ...found, importAttributes: { type: 'json' } } : found
  }

  /** @type {import('node:module').ResolveHookSync} */
  function resolveFile(specifier, context, next) {
    const isPlace = /^(?:\.{0,2}\/|\.{1,2}$|file:)/.test(specifier)
    if (!isPlace && maps && !isBuiltin(specifier) && !isInPackage(context.parentURL)) {
      const file = firstFile(mapped(options, specifier).map((place) => path.join(work, place)))
      if (file) return next(pathToFileURL(file).href, context)
    }
    try {
      return next(specifier, context)
    } catch (error) {
      if (!isPlace || !NOT_FOUND.includes(/** @type {any} */ (error).code)) throw error
      const file = firstFile([placeOf(specifier, context.parentURL)])
      if (!file) throw asWritten(error, specifier, context.parentURL)
      return next(pathToFileURL(file).href, context)
    }
  }

  /** @type {import('node:module').LoadHookSync} */
  function load(url, context, next) {
    if (url.startsWith(NAMES)) {
      const parent = decodeURIComponent(url.slice(NAMES.length))
      return { format: 'module', source: namesOf(parent, parent === mainUrl), shortCircuit: true }
    }
    if (!url.startsWith('file:')) return next(url, context)
    const file = fileURLToPath(url)
    if (!TYPED.test(file) && !(isTyped && url === mainUrl)) return next(url, context)
    const source = fs.readFileSync(file, 'utf8').replace(/^\ufeff/, '')
    const made = transform(source, TYPED.test(file) ? file : `${file}.ts`, options)
    if ('error' in made) throw syntaxError(file, source, made.error)
    const isModule = formatOf(file, made.code, context.format ?? undefined) === 'module'
    const own = isModule ? withNames(made) : made
    const map = { ...own.map, sources: [url], sourcesContent: [source] }
    const inline = Buffer.from(JSON.stringify(map)).toString('base64')
    return {
      format: isModule ? 'module' : 'commonjs',
      source: `${own.code}\n//# sourceMappingURL=data:application/json;base64,${inline}`,
      shortCircuit: true,
    }
  }
}

/**
 * Module type by the nearest package.json, else by how the source compiles, like Node.
 * @param {string} file @param {string} code @param {string | undefined} declared
 */
function formatOf(file, code, declared) {
  if (file.endsWith('.mts')) return 'module'
  if (file.endsWith('.cts')) return 'commonjs'
  if (declared?.startsWith('module')) return 'module'
  try {
    vm.compileFunction(code, PARAMETERS)
    return 'commonjs'
  } catch (error) {
    return MODULE_ONLY.test(String(/** @type {any} */ (error).message)) ? 'module' : 'commonjs'
  }
}

/**
 * Adds CommonJS names that an ES module lacks: those it uses without declaring.
 * @param {{ code: string, map: any }} made
 */
function withNames(made) {
  const free = PARAMETERS.filter((name) => isFree(name, made.code))
  return free.length === 0 ? made : below(`import { ${free.join(', ')} } from '${NAMES}'`, made)
}

/** @param {string} name @param {string} code */
function isFree(name, code) {
  if (!new RegExp(`(?<![.\\w$])${name}(?![\\w$])`).test(code)) return false
  const makes = `\\b(?:const|let|var|function|class|import|as)\\s+${name}(?![\\w$])`
  const takes = `\\b(?:const|let|var|import)\\b[^;=()]*[{[,][^;=()]*(?<![.\\w$])${name}(?![\\w$])[^;=()]*[}\\]]`
  return !new RegExp(makes).test(code) && !new RegExp(takes).test(code)
}

/** @param {string[]} places absolute */
function firstFile(places) {
  for (const place of places)
    for (const file of [...filesNamed(place), ...indexesOf(place)]) if (isFile(file)) return file
  return undefined
}

/** @param {string} file */
const isFile = (file) => fs.statSync(file, { throwIfNoEntry: false })?.isFile() === true

/** @param {string} specifier @param {string | undefined} parent */
function placeOf(specifier, parent) {
  if (specifier.startsWith('file:')) return fileURLToPath(specifier)
  const from = parent?.startsWith('file:') ? path.dirname(fileURLToPath(parent)) : '/'
  return path.resolve(from, specifier.replace(/[?#].*$/, ''))
}

/** @param {string | undefined} url */
const isInPackage = (url) => url?.includes('/node_modules/') === true

/** @param {string} work @param {string} place */
function readBelow(work, place) {
  try {
    return fs.readFileSync(path.join(work, place), 'utf8')
  } catch {
    return undefined
  }
}

/**
 * Formats a syntax error as Node does for JavaScript.
 * @param {string} file @param {string} source @param {import('./transform.js').TypeScriptError} error
 */
function syntaxError(file, source, { message, line, column }) {
  const thrown = new SyntaxError(message)
  const text = source.split('\n')[line - 1] ?? ''
  const mark = `${' '.repeat(column - 1)}^`
  thrown.stack = `${file}:${line}\n${text}\n${mark}\n\nSyntaxError: ${message}`
  return thrown
}

/**
 * Reports the import as written: Node's message has the resolved path, which is not in the source.
 * @param {any} error @param {string} specifier @param {string | undefined} parent
 */
function asWritten(error, specifier, parent) {
  const from = parent?.startsWith('file:') ? ` imported from ${fileURLToPath(parent)}` : ''
  const { message, stack } = error
  if (typeof message !== 'string' || message.includes(`'${specifier}'`)) return error
  error.message = `Cannot find module '${specifier}'${from}`
  if (typeof stack === 'string') error.stack = stack.replace(message, () => error.message)
  return error
}
