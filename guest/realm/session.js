// Runs the cells of a session, one after another, each as a script of the global scope, so that its names persist. Results
// and errors are sent with the number of their cell; the host drops those of any cell but the running one. `bound.owner` is
// the cell on whose behalf code runs; timers and calls inherit it.
import { P } from './primordials.js'
import { ask, bound, part } from './scope.js'

/** Maximum length of a value shown as text, as in Node's kernel. */
const TEXT_UNITS_MAX = 65_536
/** Longest JSON of a character, `\u0000`. */
const ESCAPED_UNITS = 6
const UNIT_BYTES_MAX = 3

const { describe, serialise } = bound
const { evaluate } = P

/** No timer is due while the timers are not loaded. */
bound.next = () => undefined

/**
 * Sets the global `input`; it remains until an exec sets another. An earlier cell may have made the name constant: then the
 * exec fails, because its cell would read the value of that cell.
 */
bound.give = (sequence, text) => {
  try {
    P.hide(globalThis, 'input', part('parse').parse(text))
  } catch (thrown) {
    fail(sequence, thrown)
  }
}

bound.watchImports = () => void part('imports')

bound.cell = (sequence, code, isAsync, unitsMax) => {
  bound.owner = sequence
  try {
    const value = evaluate(code)
    const own = isAsync ? value : new P.Promise((resolve) => resolve(value))
    // `then` looks up the promise's species: without this it would find user code.
    P.defineProperty(own, 'constructor', { __proto__: null, value: undefined })
    P.promiseThen(
      own,
      (result) => succeed(sequence, result, unitsMax),
      (thrown) => fail(sequence, thrown),
    )
  } catch (thrown) {
    fail(sequence, thrown)
  }
}

function succeed(sequence, value, unitsMax) {
  bound.endWatch()
  let isLarge = false
  try {
    const result = serialise(value, unitsMax)
    if (result.code === undefined) return ask('done', sequence, result.encoding, result.text)
    isLarge = result.code === 'RESULT_TOO_LARGE'
    if (result.code === 'RESULT_NOT_AWAITED') ask('stderr', result.message + '\n')
  } catch {
    // A getter that throws: the value is shown as text.
  }
  try {
    const text = shown(value)
    const json = quoted(text, unitsMax)
    if (isLarge || text.length > json.length) ask('cut', sequence, json)
    else ask('done', sequence, 'text', json)
  } catch (thrown) {
    fail(sequence, thrown)
  }
}

/** JSON of a text, cut if it might be longer than a result may be. */
function quoted(text, unitsMax) {
  const json = P.stringify(P.slice(text, 0, TEXT_UNITS_MAX))
  if (json.length * UNIT_BYTES_MAX <= unitsMax) return json
  return P.stringify(P.slice(text, 0, P.max(0, P.trunc((unitsMax - 2) / ESCAPED_UNITS))))
}

const shown = (value) => (typeof value === 'string' ? value : part('inspect').inspect(value))

function fail(sequence, thrown) {
  const error = describe(thrown)
  error.code = 'USER_ERROR'
  bound.endWatch()
  ask('failed', sequence, P.stringify(error))
}

const loads = new P.Map()
let lastLoad = 0

/** Loader that an `import` of a cell calls: names are bound once, and a missing one is an error. */
P.hide(
  globalThis,
  '$load$',
  (specifier, _options, names) =>
    new P.Promise((resolve, reject) => {
      const id = ++lastLoad
      P.mapSet(loads, id, {
        __proto__: null,
        specifier: P.String(specifier),
        names,
        resolve,
        reject,
        owner: bound.owner,
      })
      ask('import', id, P.String(specifier))
    }),
)

/** Ends what an interrupted cell waits for: nothing resumes it. */
bound.drop = (owner) => {
  bound.clearTimers?.(owner)
  bound.dropCalls(owner)
  P.mapForEach(loads, (load) => {
    if (load.owner === owner) load.resolve = load.reject = () => undefined
  })
}

bound.loaded = (id, namespace) => {
  const { specifier, names, resolve, reject } = taken(id)
  const missing = missingOf(namespace, names)
  if (missing === undefined) resolve(namespace)
  else {
    const what = "' does not provide an export named '"
    reject(new P.SyntaxError("The requested module '" + specifier + what + missing + "'"))
  }
}

bound.unloaded = (id, text) => {
  const { code, name, message, stack } = P.parse(text)
  const error = new P.Error(message)
  if (name !== undefined) P.hide(error, 'name', name)
  if (code !== undefined) P.hide(error, 'code', code)
  if (stack !== undefined) P.hide(error, 'stack', stack)
  taken(id).reject(error)
}

function taken(id) {
  const load = P.mapGet(loads, id)
  P.mapDelete(loads, id)
  return load
}

function missingOf(namespace, names) {
  if (!P.isArray(names)) return undefined
  for (let index = 0; index < names.length; index++)
    if (!P.hasOwn(namespace, names[index])) return P.String(names[index])
  return undefined
}

/** Prints an error of a callback; the session continues. */
bound.fail = (thrown) => {
  let text = 'an error that cannot be shown'
  try {
    text = part('inspect').inspect(thrown)
  } catch {
    // A getter of it threw.
  }
  ask('stderr', 'Uncaught ' + text + '\n')
}

export { shown }
