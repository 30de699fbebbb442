import { readdirSync, readFileSync } from 'node:fs'

/**
 * Runs one of the realm's own scripts in an isolate and returns a Reference to its function. Sources are read
 * when this file is loaded, so that cells can be created after the worker has given up the file system.
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
const bootOrder = ['primordials', 'globals', 'serialise', 'describe', 'console', 'driver']

const folder = new URL('../realm/', import.meta.url)
const sources = new Map(
  readdirSync(folder)
    .filter((file) => file.endsWith('.js'))
    .map((file) => [file.slice(0, -3), expression(readFileSync(new URL(file, folder), 'utf8'))]),
)

const codes = new Map([...sources, ['boot', boot()]])
const parts = new Map([...codes].map(([name, code]) => [name, { code: `'use strict';${code}` }]))

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

function boot() {
  const eager = bootOrder.map((name) => sources.get(name)).join(',\n')
  return `(function (host, webAssembly) { return ${sources.get('boot')}(host, webAssembly, ${eager}) })`
}

/** A realm file exports one function without free variables, so that its text can be carried in. */
function expression(text) {
  const marker = 'export default '
  return `(${text.slice(text.indexOf(marker) + marker.length).trimEnd()})`
}
