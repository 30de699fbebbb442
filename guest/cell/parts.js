import { readdirSync, readFileSync } from 'node:fs'

/**
 * Runs one of the realm's own scripts in an isolate and answers a Reference to the function it is.
 * Sources are read when this file is loaded: a worker that has given up the file system can still make
 * cells.
 *
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

/** Where frames of the realm say they are; such frames are cut out of the stacks users see. */
export const REALM_FILE = 'mayfly:realm'
const RUN = { reference: true, release: true }
const PRODUCE = { filename: REALM_FILE, produceCachedData: true }

/** What every cell needs at once, as one script: separate ones would cost a cell 0.1 ms each. */
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
 * Gives every part a code cache, taken from an isolate in which a job has run: V8 caches the functions
 * that were compiled, and before they are called that is none of them.
 *
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

/** A realm file exports one function and closes over nothing, so that its text alone can be carried in. */
function expression(text) {
  const marker = 'export default '
  return `(${text.slice(text.indexOf(marker) + marker.length).trimEnd()})`
}
