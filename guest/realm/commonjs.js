// CommonJS loader for the job's files, the usual form of libraries. Names are resolved by the host, from the
// list of files; files run here.
import { P } from './primordials.js'
import { ask, bound, part } from './scope.js'

const cache = { __proto__: null }
const bridges = { __proto__: null }

const folderOf = (path) => {
  let at = path.length
  while (at > 0 && path[at - 1] !== '/') at--
  return at === 0 ? '' : P.slice(path, 0, at - 1)
}

function requireFrom(from) {
  const require = (specifier) => {
    const name = P.String(specifier)
    const found = ask('resolve', from, name)
    if (found === '') throw missing(name, from)
    return load(found)
  }
  require.cache = cache
  require.resolve = (specifier) => {
    const found = ask('resolve', from, P.String(specifier))
    if (found === '') throw missing(P.String(specifier), from)
    return found
  }
  return require
}

function missing(specifier, from) {
  const error = new P.Error(
    'Cannot find "' + specifier + '" (required by "' + from + '"): the job brought no such file',
  )
  return coded(error, 'MODULE_NOT_FOUND')
}

function coded(error, code) {
  P.put(error, 'code', code)
  return error
}

function load(path) {
  const known = cache[path]
  if (known !== undefined) return known.exports
  const module = { id: path, filename: path, loaded: false, exports: {}, children: [], paths: [] }
  cache[path] = module
  try {
    run(path, module)
  } catch (thrown) {
    delete cache[path]
    throw thrown
  }
  module.loaded = true
  return module.exports
}

function run(path, module) {
  const kind = ask('kind', path)
  if (kind === 'json') {
    module.exports = part('parse').parse(ask('file', path))
    return
  }
  if (kind === 'esm') {
    const error = new P.Error(
      'Cannot require "' + path + '": it is an ES module; import it instead',
    )
    throw coded(error, 'ERR_REQUIRE_ESM')
  }
  const compiled = ask('compile', path)
  if (typeof compiled !== 'function') throw new P.SyntaxError(compiled)
  const require = (module.require = requireFrom(path))
  P.apply(compiled, module.exports, [module.exports, require, module, path, folderOf(path)])
}

/** Runs a file for ES modules that import it; returns its exported names as JSON text. */
bound.require = (path) => {
  const value = load(path)
  const names = P.setPrototypeOf([], null)
  const isObject = (typeof value === 'object' && value !== null) || typeof value === 'function'
  const keys = isObject ? P.keys(value) : []
  const values = P.setPrototypeOf([], null)
  let text = '['
  for (let index = 0; index < keys.length && index < 10_000; index++) {
    if (keys[index] === 'default' || keys[index] === '__esModule') continue
    values[names.length] = value[keys[index]]
    names[names.length] = keys[index]
    text += (names.length > 1 ? ',' : '') + P.stringify(keys[index])
  }
  bridges[path] = { __proto__: null, value: defaultOf(value, isObject), names: values }
  return text + ']'
}

/** Default export: that of a transpiled ES module (`__esModule`), else all exports. */
function defaultOf(value, isObject) {
  if (!isObject || value.__esModule !== true || !P.hasOwn(value, 'default')) return value
  return value.default
}

bound.bridge = (path) => bridges[path]

export { requireFrom }
