import ivm from 'isolated-vm'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { deserialize, serialize } from 'node:v8'

/**
 * Runs one of the realm's own scripts in an isolate and returns a Reference to its function. Sources are read
 * before the first cell, so that cells can be created after the worker has given up the file system.
 * @param {import('isolated-vm').Isolate} isolate @param {import('isolated-vm').Context} context @param {string} name
 */
export function runPart(isolate, context, name) {
  const { code, cachedData } = parts.get(name)
  const script = isolate.compileScriptSync(code, {
    filename: REALM_FILE,
    ...(cachedData && { cachedData }),
  })
  return script.runSync(context, RUN)
}

/** File name of the realm's frames, which are removed from users' stacks. */
export const REALM_FILE = 'mayfly:realm'
const RUN = { reference: true, release: true }
const PRODUCE = { filename: REALM_FILE, produceCachedData: true }

/** Parts needed by every cell, as one script: separate scripts would cost 0.1 ms more. */
const bootOrder = [
  'primordials',
  'stack',
  'globals',
  'serialise',
  'describe',
  'console',
  'refused',
  'driver',
]

/** Declares the names that `boot` hands to the other files; no code of its own. */
const SCOPE = 'scope.js'
/** Sources of the realm: beside the folder of this module, or of the file that it is joined into. */
const folder = ['../realm/', './realm/']
  .map((place) => new URL(place, import.meta.url))
  .find((place) => existsSync(place))
const STORED = 'realm.parts'

/** @type {Map<string, { code: string, cachedData?: import('isolated-vm').ExternalCopy<ArrayBuffer> }>} */
let parts = new Map()

/** Reads the realm's sources; without stored code caches, `cacheParts` makes them. */
export function readParts() {
  const files = readdirSync(folder).filter((file) => file.endsWith('.js') && file !== SCOPE)
  const sources = new Map(
    files.map((file) => [
      file.slice(0, -3),
      expression(readFileSync(new URL(file, folder), 'utf8')),
    ]),
  )
  const codes = [...sources, ['boot', boot(sources)]]
  parts = new Map(codes.map(([name, code]) => [name, { code: `'use strict';${code}` }]))
}

/**
 * Creates code caches from an isolate in which a job has run: V8 caches only compiled functions, and compiles
 * lazily at the first call.
 * @param {import('isolated-vm').Isolate} isolate
 */
export function cacheParts(isolate) {
  for (const part of parts.values()) {
    part.cachedData = isolate.compileScriptSync(part.code, PRODUCE).cachedData
  }
}

/** Stores sources and code caches in a folder that only processes without any untrusted byte write. @param {string} into */
export function storeParts(into) {
  const held = [...parts].map(([name, { code, cachedData }]) => [name, code, cachedData.copy()])
  writeFileSync(join(into, STORED), serialize(held))
}

/**
 * Loads the sources and code caches that `storeParts` stored; creating them would take half as long as the start of Node.
 * The folder's name depends on Node's version and on the hash of the sources.
 * @param {string | undefined} from @returns {boolean} false if the folder is incomplete
 */
export function findParts(from) {
  if (!from) return false
  try {
    const held = deserialize(readFileSync(join(from, STORED)))
    const taken = ([name, code, bytes]) => [name, { code, cachedData: new ivm.ExternalCopy(bytes) }]
    parts = new Map(held.map(taken))
    return true
  } catch {
    return false
  }
}

/** @param {Map<string, string>} sources */
function boot(sources) {
  const eager = bootOrder.map((name) => `${name}: ${sources.get(name)}`).join(',\n')
  const parts = `{ __proto__: null, ${eager} }`
  return `(function (host, webAssembly) { return ${sources.get('boot')}({ host, webAssembly, parts: ${parts} }).enter })`
}

/**
 * A realm file as an expression: a function that takes the names the file imports, and returns those it exports.
 * Modules would need a promise and a linker in each isolate. Only these two statements of a module are known.
 * @param {string} text
 */
export function expression(text) {
  const taken = []
  const body = text
    .replace(/^import \{([^}]*)\} from '\.\/[\w-]+\.js'$/gm, (_, names) => {
      taken.push(names)
      return ''
    })
    .replace(/^export \{([^}]*)\}$/m, (_, names) => `return { __proto__: null, ${names} }`)
  if (/^(import|export)\b/m.test(body)) throw new Error('Cannot carry a realm file into an isolate')
  return `(function (${taken.length > 0 ? `{ ${taken.join(', ')} }` : ''}) {${body}})`
}
