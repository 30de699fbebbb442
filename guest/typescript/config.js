/**
 * Options of a job's `tsconfig.json` that matter at run time: module paths and class fields. Parsed as
 * untrusted text; files outside the job do not exist.
 */

/** Maximum chain of `extends`. */
const EXTENDS_MAX = 8
const CONFIG_UNITS_MAX = 262_144
const PATTERNS_MAX = 1000

/**
 * @typedef {{ legacy: boolean, metadata: boolean, verbatim: boolean, assigns: boolean, jsx: object | undefined,
 *   paths: { pattern: string, targets: string[], base: string }[], baseUrl: string | undefined }} Options
 * `base` and `baseUrl`: folders of the job, without a slash at either end
 */

/** @type {Options} */
const none = {
  legacy: false,
  metadata: false,
  verbatim: false,
  assigns: false,
  jsx: undefined,
  paths: [],
  baseUrl: undefined,
}

/**
 * @param {(path: string) => string | undefined} read a file of the job, by its path from the root
 * @returns {Options}
 */
export function readConfig(read, path = 'tsconfig.json', depth = 0) {
  const text = read(path)
  const config = text === undefined ? undefined : parseLoosely(text)
  if (!isRecord(config)) return none
  const folder = folderOf(path)
  const inherited =
    depth < EXTENDS_MAX && typeof config.extends === 'string'
      ? readConfig(read, extended(folder, config.extends), depth + 1)
      : none
  const own = isRecord(config.compilerOptions) ? config.compilerOptions : {}
  const baseUrl = typeof own.baseUrl === 'string' ? within(folder, own.baseUrl) : inherited.baseUrl
  return {
    legacy: flag(own.experimentalDecorators, inherited.legacy),
    metadata: flag(own.emitDecoratorMetadata, inherited.metadata),
    verbatim: flag(own.verbatimModuleSyntax, inherited.verbatim),
    assigns:
      own.useDefineForClassFields === undefined
        ? inherited.assigns
        : own.useDefineForClassFields === false,
    jsx: jsxOf(own) ?? inherited.jsx,
    paths: isRecord(own.paths) ? pathsOf(own.paths, baseUrl ?? folder) : inherited.paths,
    baseUrl,
  }
}

/**
 * Candidate paths of a non-relative name, likeliest first: by the most specific pattern, else below `baseUrl`.
 * @param {Options} options @param {string} specifier @returns {string[]}
 */
export function mapped({ paths, baseUrl }, specifier) {
  let best
  for (const one of paths) {
    const [before = '', after] = one.pattern.split('*', 2)
    const isExact = after === undefined && one.pattern === specifier
    const fits =
      after !== undefined &&
      specifier.length >= before.length + after.length &&
      specifier.startsWith(before) &&
      specifier.endsWith(after)
    if (!isExact && !fits) continue
    const rank = isExact ? Infinity : before.length
    if (best && best.rank >= rank) continue
    best = {
      ...one,
      rank,
      star: isExact ? '' : specifier.slice(before.length, specifier.length - (after ?? '').length),
    }
  }
  const { targets = [], base = '', star = '' } = best ?? {}
  const found = targets.map((target) =>
    within(
      base,
      target.replace('*', () => star),
    ),
  )
  if (baseUrl !== undefined) found.push(within(baseUrl, specifier))
  return found.filter((path) => path !== undefined)
}

/** Path from the job's root; undefined if it leaves it. @param {string} folder @param {string} path */
function within(folder, path) {
  if (path.startsWith('/')) return undefined
  /** @type {string[]} */
  const parts = []
  for (const part of `${folder}/${path}`.split('/')) {
    if (part === '..' && parts.pop() === undefined) return undefined
    if (part !== '' && part !== '.' && part !== '..') parts.push(part)
  }
  return parts.join('/')
}

/** @param {string} path */
const folderOf = (path) => (path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : '')

/** @param {string} folder @param {string} name */
function extended(folder, name) {
  const file = name.endsWith('.json') ? name : `${name}.json`
  return within(folder, name.startsWith('.') ? file : `node_modules/${file}`) ?? ''
}

/** @param {unknown} value @param {boolean} inherited */
const flag = (value, inherited) => (typeof value === 'boolean' ? value : inherited)

/** @param {Record<string, unknown>} paths @param {string} base */
function pathsOf(paths, base) {
  return Object.entries(paths)
    .slice(0, PATTERNS_MAX)
    .map(([pattern, targets]) => ({
      pattern,
      base,
      targets: Array.isArray(targets)
        ? targets.filter((one) => typeof one === 'string').slice(0, 100)
        : [],
    }))
}

/** @param {Record<string, unknown>} own */
function jsxOf({ jsx, jsxFactory, jsxFragmentFactory, jsxImportSource }) {
  if (jsx === 'react')
    return {
      runtime: 'classic',
      ...(typeof jsxFactory === 'string' && { pragma: jsxFactory }),
      ...(typeof jsxFragmentFactory === 'string' && { pragmaFrag: jsxFragmentFactory }),
    }
  return typeof jsxImportSource === 'string' ? { importSource: jsxImportSource } : undefined
}

/** @param {unknown} value @returns {value is Record<string, any>} */
const isRecord = (value) => typeof value === 'object' && value !== null && !Array.isArray(value)

/** JSON with comments and trailing commas; undefined if invalid. @param {string} text */
function parseLoosely(text) {
  if (text.length > CONFIG_UNITS_MAX) return undefined
  const keepTexts = (/** @type {string} */ one) => (one[0] === '"' ? one : ' ')
  const plain = text
    .replace(/^\ufeff/, '')
    .replace(/"(?:[^"\\\n]|\\.)*"|\/\/[^\n]*|\/\*[^]*?\*\//g, keepTexts)
    .replace(/"(?:[^"\\\n]|\\.)*"|,(?=\s*[}\]])/g, keepTexts)
  try {
    return JSON.parse(plain)
  } catch {
    return undefined
  }
}
