import { isBuiltin } from 'node:module'
import { parseJson } from '../parse-json.js'
import { filesNamed, indexesOf } from '../typescript/candidates.js'
import { mapped, readConfig } from '../typescript/config.js'
import { TYPED } from '../typescript/transform.js'

/**
 * Module resolution among a job's files. There is no disk behind it: only the job's files exist.
 *
 * The rules are Node's, without a disk: `./x`, `../x`, `/x` (from the job's root) are tried as written, as the
 * TypeScript source of a `.js`, with a suffix, then as a folder (its package.json `main`, then `index.*`). Any
 * other name is first mapped by `paths` and `baseUrl` of the job's tsconfig.json. A bare name is a folder below
 * the nearest `node_modules`; its package.json resolves by `exports` (conditions `import` or `require`,
 * `default`; subpaths, one `*`), else by `module` (import only) and `main`. A `.js` file is an ES module if the
 * nearest package.json has `"type": "module"`, or, without a type, if its text parses only as one.
 */
export class Files {
  #contents
  #packages = new Map()
  #kinds = new Map()
  #isModule
  #toJavaScript
  #refused
  #options
  #texts = new Map()

  /**
   * @param {{ path: string, content: string, encoding: 'utf8' | 'base64' }[]} files
   * @param {object} parts
   * @param {(text: string) => boolean} parts.isModule true if a text parses only as an ES module
   * @param {(path: string, text: string) => string} parts.toJavaScript transpiles TypeScript that has more than erasable types
   * @param {(how: 'import' | 'require', module: string) => void} parts.refused called for a built-in module of Node, named without `node:`
   */
  constructor(files, { isModule, toJavaScript, refused }) {
    this.#isModule = isModule
    this.#toJavaScript = toJavaScript
    this.#refused = refused
    this.#contents = new Map(files.map((file) => [normal(file.path), file]))
  }

  /** Options of the job's tsconfig.json. */
  get options() {
    const read = (path) => (this.#contents.has(path) ? this.#source(path) : undefined)
    return (this.#options ??= readConfig(read))
  }

  /** @param {string} path @returns {string} its text; code as JavaScript */
  text(path) {
    if (!TYPED.test(path) || this.#contents.get(path).erased) return this.#source(path)
    const known = this.#texts.get(path) ?? this.#toJavaScript(path, this.#source(path))
    this.#texts.set(path, known)
    return known
  }

  /** True if a file exists with exactly this text. @param {string} path @param {string} text */
  isSame(path, text) {
    return this.#contents.has(path) && this.#source(path) === text
  }

  #source(path) {
    const { content, encoding } = this.#contents.get(path)
    return encoding === 'base64' ? Buffer.from(content, 'base64').toString('utf8') : content
  }

  /**
   * @param {string} from path of the importing file
   * @param {string} specifier
   * @param {'import' | 'require'} how
   * @returns {string | undefined} a path of the job, if it brought such a file
   */
  resolve(from, specifier, how) {
    if (specifier.length > SPECIFIER_UNITS_MAX) return undefined
    const path = this.#resolved(from, specifier, how)
    if (path === undefined && isBuiltin(specifier))
      this.#refused(how, specifier.replace('node:', ''))
    return path
  }

  #resolved(from, specifier, how) {
    const name = specifier.startsWith('file:///') ? specifier.slice(7) : specifier
    if (name.startsWith('/')) return this.#byPath(name, how)
    if (/^\.\.?(\/|$)/.test(name)) return this.#byPath(`${folderOf(from)}/${name}`, how)
    return codeAlone(this.#mapped(name, how) ?? this.#inPackage(folderOf(from), name, how))
  }

  /**
   * A file without a code suffix is found by its exact path alone, and by an import alone: imports are static,
   * so that the analysis has read their targets; the argument of `require` may be computed at run time.
   */
  #byPath(path, how) {
    const found = this.#at(path, how)
    return how === 'import' && found === normal(path) ? found : codeAlone(found)
  }

  /** @param {string} path @returns {'json' | 'esm' | 'cjs'} */
  kind(path) {
    const known = this.#kinds.get(path) ?? this.#kindOf(path)
    this.#kinds.set(path, known)
    return known
  }

  #mapped(name, how) {
    if (!this.#contents.has('tsconfig.json')) return undefined
    return mapped(this.options, name)
      .map((path) => this.#at(path, how))
      .find(Boolean)
  }

  #kindOf(path) {
    if (path.endsWith('.json')) return 'json'
    if (/\.m[jt]s$/.test(path)) return 'esm'
    if (/\.c[jt]s$/.test(path)) return 'cjs'
    const { type } = this.#nearestPackage(folderOf(path))
    if (type === 'module') return 'esm'
    const text = type === 'commonjs' && !TYPED.test(path) ? '' : this.text(path)
    return MODULE_WORD.test(text) && this.#isModule(text) ? 'esm' : 'cjs'
  }

  #at(path, how) {
    const plain = normal(path)
    if (plain === undefined) return undefined
    return this.#file(plain) ?? this.#folder(plain, how)
  }

  #file(path) {
    return filesNamed(path).find((name) => this.#contents.has(name))
  }

  #folder(path, how) {
    const { module, main } = this.#package(path) ?? {}
    const named = [how === 'import' ? module : undefined, main].filter(
      (name) => typeof name === 'string',
    )
    const found = named.map((name) => this.#entry(`${path}/${name}`)).find(Boolean)
    return found ?? this.#index(path)
  }

  #entry(path) {
    const plain = normal(path)
    return plain === undefined ? undefined : (this.#file(plain) ?? this.#index(plain))
  }

  #index(path) {
    return indexesOf(path)
      .map((name) => (path === '' ? name.slice(1) : name))
      .find((name) => this.#contents.has(name))
  }

  #inPackage(folder, specifier, how) {
    const [, name, subpath] = /^((?:@[^/]+\/)?[^/]+)(\/.*)?$/.exec(specifier) ?? []
    if (name === undefined) return undefined
    for (const above of ancestors(folder)) {
      const home = normal(`${above}/node_modules/${name}`)
      const found = home && this.#fromHome(home, subpath ?? '', how)
      if (found) return found
    }
    return undefined
  }

  #fromHome(home, subpath, how) {
    const { exports } = this.#package(home) ?? {}
    if (exports === undefined || exports === null) return this.#at(home + subpath, how)
    const target = exported(exports, `.${subpath}`, how)
    const path = target === undefined ? undefined : normal(`${home}/${target}`)
    return path !== undefined && this.#contents.has(path) ? path : undefined
  }

  #nearestPackage(folder) {
    for (const above of ancestors(folder)) {
      const found = this.#package(above)
      if (found) return found
    }
    return {}
  }

  #package(folder) {
    const path = folder === '' ? 'package.json' : `${folder}/package.json`
    if (!this.#contents.has(path)) return undefined
    if (!this.#packages.has(path)) this.#packages.set(path, parsed(this.text(path)))
    return this.#packages.get(path)
  }
}

const SPECIFIER_UNITS_MAX = 4096
const CODE = /\.(?:[cm]?[jt]s|[jt]sx|json)$/
/** Declarations: not analysed as code. */
const DECLARATION = /\.d\.[cm]?ts$/
const MODULE_WORD = /\b(?:import|export|await)\b/
const CONDITION_DEPTH_MAX = 16

/**
 * A path computed by package.json, tsconfig.json or code, if it has a code suffix. The analysis reads all files
 * with one, but follows no such name to other files, so other files must not run.
 */
export function codeAlone(path) {
  return path !== undefined && CODE.test(path) && !DECLARATION.test(path) ? path : undefined
}

function parsed(text) {
  try {
    const value = parseJson(text)
    return typeof value === 'object' && value !== null ? value : {}
  } catch {
    return {}
  }
}

function folderOf(path) {
  return path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : ''
}

/** `a/b/c`, `a/b`, `a`, the root. */
function* ancestors(folder) {
  for (let at = folder; at !== ''; at = folderOf(at)) yield at
  yield ''
}

/** Resolves `.`, `..` and doubled slashes; undefined if it leaves the job's root. */
function normal(path) {
  const parts = []
  for (const part of path.split('/')) {
    if (part === '..' && parts.pop() === undefined) return undefined
    if (part !== '' && part !== '.' && part !== '..') parts.push(part)
  }
  return parts.join('/')
}

function exported(exports, subpath, how) {
  const isMap =
    typeof exports === 'object' && Object.keys(exports).some((key) => key.startsWith('.'))
  if (!isMap) return subpath === '.' ? chosen(exports, how, 0) : undefined
  if (Object.hasOwn(exports, subpath)) return chosen(exports[subpath], how, 0)
  for (const key of Object.keys(exports)) {
    const [before, after] = key.split('*')
    if (after === undefined || !subpath.startsWith(before) || !subpath.endsWith(after)) continue
    const middle = subpath.slice(before.length, subpath.length - after.length)
    return chosen(exports[key], how, 0)?.replaceAll('*', () => middle)
  }
  return undefined
}

function chosen(target, how, depth) {
  if (typeof target === 'string') return target
  if (typeof target !== 'object' || target === null || depth > CONDITION_DEPTH_MAX) return undefined
  if (Array.isArray(target)) return target.map((one) => chosen(one, how, depth + 1)).find(Boolean)
  for (const [condition, value] of Object.entries(target)) {
    const isMet = condition === how || condition === 'default'
    const found = isMet ? chosen(value, how, depth + 1) : undefined
    if (found !== undefined) return found
  }
  return undefined
}
