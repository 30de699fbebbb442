import { Refusal } from './ends.js'
import { parseJson } from '../parse-json.js'

/**
 * Calls the export `run` with the input: a number, or a list of numbers, one for each parameter. Returns a number, a list
 * for several results, or nothing.
 * @param {import('../../src/lib/wasm-module.js').Declared} declared
 * @param {WebAssembly.Exports} exports
 * @param {string} inputText
 */
export function callRun(declared, exports, inputText) {
  const run = exports['run']
  const index = declared.exports.find(({ name }) => name === 'run')?.index ?? -1
  const signature = declared.signatureOf(index)
  if (typeof run !== 'function' || signature === undefined) {
    const message = 'Cannot run the module: it exports neither "_start" nor a function "run"'
    throw new Refusal('WASM_EXPORT_MISSING', message, { details: { name: 'run' } })
  }
  if (signature.results.includes('reference')) {
    const message = 'Cannot return the result: "run" returns a value that is no number'
    throw new Refusal('RESULT_NOT_DATA', message)
  }
  const args = argumentsFor(signature.params, parseJson(inputText))
  if (typeof exports['_initialize'] === 'function') exports['_initialize']()
  return told(run(...args), signature.results)
}

/** @param {string[]} params @param {unknown} input @returns {(number | bigint)[]} */
function argumentsFor(params, input) {
  const given = Array.isArray(input) ? input : input === null ? [] : [input]
  if (given.length !== params.length) {
    throw badInput(`it takes ${params.length} numbers, and the input has ${given.length}`)
  }
  return params.map((type, index) => argument(type, given[index], index + 1))
}

/** @param {string} type @param {unknown} value @param {number} place */
function argument(type, value, place) {
  const take = takes[type]
  if (take === undefined) throw badInput(`parameter ${place} of "run" takes no number`)
  const number = untagged(value)
  const fits = number !== undefined && take(number)
  if (!fits) throw badInput(`number ${place} of the input is no ${type}`)
  return type === 'i64' ? BigInt(number) : Number(number)
}

/** @type {Record<string, (value: number | bigint) => boolean>} */
const takes = {
  i32: (value) => Number.isInteger(Number(value)) && value >= -(2 ** 31) && value < 2 ** 32,
  i64: (value) => isWhole(value) && value >= -(2n ** 63n) && value < 2n ** 64n,
  f32: (value) => typeof value === 'number',
  f64: (value) => typeof value === 'number',
}

/** @param {number | bigint} value */
function isWhole(value) {
  return typeof value === 'bigint' || Number.isSafeInteger(value)
}

/** Decodes tagged numbers, those without a JSON form. @param {any} value */
function untagged(value) {
  if (typeof value === 'number') return value
  const { $type: type, value: text } = value ?? {}
  if (type === 'BigInt' && /^-?\d{1,20}$/.test(text)) return BigInt(text)
  if (type === 'number' && /^(NaN|-?Infinity|-0)$/.test(text)) return Number(text)
  return undefined
}

/** @param {string} why */
function badInput(why) {
  return new Refusal('WASM_INPUT', `Cannot call "run" with the input: ${why}`)
}

/** @param {any} value @param {string[]} results */
function told(value, results) {
  if (results.length === 0) return { status: 'ok', resultText: 'null' }
  const values = (results.length === 1 ? [value] : [...value]).map(tagged)
  const isTagged = values.some((one) => typeof one === 'object')
  const resultText = JSON.stringify(results.length === 1 ? values[0] : values)
  return { status: 'ok', resultText, encoding: isTagged ? 'tagged' : 'json' }
}

/** @param {number | bigint} value */
function tagged(value) {
  if (typeof value === 'bigint') return { $type: 'BigInt', value: String(value) }
  if (Number.isFinite(value) && !Object.is(value, -0)) return value
  return { $type: 'number', value: value === 0 ? '-0' : String(value) }
}
