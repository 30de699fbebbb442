import { hash } from 'node:crypto'
import { meter } from '../../src/lib/wasm-meter.js'
import {
  readModule,
  WasmError,
  withMemoryMaximum,
  withStartExported,
} from '../../src/lib/wasm-module.js'
import { plain, Refusal } from './ends.js'

const ENTRIES_MAX = 16
/** Maximum bytes of modules in the cache; machine code is a few times larger. */
const BYTES_MAX = 2 * 2 ** 20
const PAGE_BYTES = 65_536
const PAGES_MAX = 65_536

/**
 * @typedef {{
 *   module: WebAssembly.Module, declared: import('../../src/lib/wasm-module.js').Declared,
 *   bytes: number, growthMax: number, start: string | undefined, fuel?: string,
 * }} Compiled
 */

/** LRU cache of compiled modules by hash. A worker serves one tenant, so all belong to it. */
export class Modules {
  /** Least recently used first. @type {Map<string, Compiled>} */
  #kept = new Map()

  /**
   * Throws Refusal: WASM_INVALID with the offset, WASM_UNSUPPORTED, or the limit MEMORY.
   * @param {string} base64
   * @param {number} memoryBytes what its memories may grow to
   * @param {boolean} [isMetered] whether its instructions are counted
   * @returns {Compiled}
   */
  compile(base64, memoryBytes, isMetered = false) {
    const key = `${isMetered} ${memoryBytes} ${hash('sha256', base64, 'base64')}`
    const compiled = this.#kept.get(key) ?? compile(bytesOf(base64), memoryBytes, isMetered)
    this.#kept.delete(key)
    this.#kept.set(key, compiled)
    this.#shrink()
    return compiled
  }

  #shrink() {
    let bytes = 0
    for (const [index, [key, one]] of [...this.#kept].toReversed().entries()) {
      bytes += one.bytes
      if (index >= ENTRIES_MAX || bytes > BYTES_MAX) this.#kept.delete(key)
    }
  }
}

/** @param {string} base64 */
function bytesOf(base64) {
  const bytes = Buffer.from(base64, 'base64')
  const units = base64.replace(/[\s=]/g, '').length
  if (Math.ceil((bytes.length * 4) / 3) === units) return bytes
  throw new Refusal('WASM_INVALID', 'Cannot read the module: it is not base64', named)
}

/** @param {Buffer} bytes @param {number} memoryBytes @param {boolean} isMetered @returns {Compiled} */
function compile(bytes, memoryBytes, isMetered) {
  const declared = read(bytes)
  const memories = memoriesOf(declared)
  const growthMax = growthOf(memories, Math.min(PAGES_MAX, Math.floor(memoryBytes / PAGE_BYTES)))
  // Rewritten beyond its memories, an invalid module could be valid, and name the counter.
  const isRewritten = isMetered || declared.startSection !== undefined
  if (isRewritten && !WebAssembly.validate(/** @type {any} */ (bytes)))
    throw engineRefusal(bytes) ?? invalid('the engine refuses it', undefined)
  const exported = withStartExported(bytes, declared)
  const bounded = withMemoryMaximum(exported.bytes, declared, growthMax)
  const facts = { declared, growthMax, start: exported.start }
  if (isMetered) return { ...facts, ...compileMetered(bounded, declared) }
  try {
    const module = new WebAssembly.Module(/** @type {any} */ (bounded))
    return { ...facts, module, bytes: bytes.length }
  } catch (error) {
    if (!(error instanceof WebAssembly.CompileError)) throw error
    // The memory cap may have shifted offsets: report those of the original module.
    throw engineRefusal(bytes) ?? invalid(error.message, undefined)
  }
}

/** Compiles a module whose instructions are counted. @param {Uint8Array} bounded @param {Compiled['declared']} declared */
function compileMetered(bounded, declared) {
  try {
    const { bytes, fuel } = meter(bounded, declared)
    const module = new WebAssembly.Module(/** @type {any} */ (bytes))
    return { module, bytes: bytes.length, fuel }
  } catch (error) {
    const isKnown = error instanceof WasmError || error instanceof WebAssembly.CompileError
    if (!isKnown) throw error
    const message = `Cannot count the instructions of the module: ${plain(error.message)}`
    throw new Refusal('WASM_UNSUPPORTED', message.slice(0, 1000), {
      details: { feature: 'instructions' },
    })
  }
}

/** A module unreadable here fails in the engine as well, with a better message. @param {Buffer} bytes */
function read(bytes) {
  try {
    return readModule(bytes)
  } catch (error) {
    if (!(error instanceof WasmError)) throw error
    throw engineRefusal(bytes, error.offset) ?? invalid(error.message, error.offset)
  }
}

/** @param {Buffer} bytes @param {number} [at] offset, if the engine's message has none */
function engineRefusal(bytes, at) {
  try {
    void new WebAssembly.Module(/** @type {any} */ (bytes))
    return undefined
  } catch (error) {
    const message = String(/** @type {any} */ (error).message)
    const offset = /@\+(\d+)\s*$/.exec(message)?.[1]
    return invalid(plain(message), offset === undefined ? at : Number(offset))
  }
}

const named = { name: 'CompileError' }

/** @param {string} why @param {number | undefined} offset */
function invalid(why, offset) {
  const details = offset === undefined ? {} : { details: { offset } }
  return new Refusal('WASM_INVALID', `Cannot compile the module: ${why}`, { ...named, ...details })
}

/** Imported and own memories. @param {Compiled['declared']} declared */
export function memoriesOf({ imports, memories }) {
  return [...imports.flatMap(({ limits }) => (limits ? [limits] : [])), ...memories]
}

/**
 * Pages that each memory may grow by: several have equal shares of what they leave at their start. Throws Refusal.
 * @param {readonly import('../../src/lib/wasm-module.js').Limits[]} memories @param {number} pagesMax
 */
function growthOf(memories, pagesMax) {
  if (memories.some(({ isShared }) => isShared)) {
    const message =
      'Cannot run the module: it asks for shared memory, and there are no threads here'
    throw new Refusal('WASM_UNSUPPORTED', message, { details: { feature: 'threads' } })
  }
  const initial = memories.reduce((sum, one) => sum + one.initial, 0)
  const count = Math.max(1, memories.length)
  if (initial <= pagesMax) return Math.floor((pagesMax - initial) / count)
  const all = count > 1 ? ` for its ${count} memories together` : ''
  const message = `The module needs ${initial} pages of memory from the start, and its limit is ${pagesMax}${all}`
  throw new Refusal('MEMORY', message, { status: 'limit' })
}
