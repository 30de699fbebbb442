// Reports a dynamic import, which is syntax, also in code made by `eval` or `Function`: V8 has no loader here and rejects
// its promise. The host loads this file for code that may make such a promise (`mayImport` in guest/cell/failure.js).
//
// Before a promise is awaited, chained or resolved to, its `constructor` is looked up. An accessor in place of that property
// sees each such promise and adds a reaction to it; an import that nothing handles ends the job anyway.
//
// Not handled: code that replaces the constructor or the prototype of the promise, and code whose text shows no way to make
// code. A promise has two reactions then, so that V8 leaves `at async` frames out of stacks.
import { P } from './primordials.js'
import { ask } from './scope.js'

/** Message of V8's error (MessageTemplate::kUnsupported). */
const NOT_SUPPORTED = 'Not supported'
let isAdding = false

void P.defineProperty(P.PromisePrototype, 'constructor', {
  __proto__: null,
  get() {
    watch(this)
    return P.Promise
  },
  set(value) {
    P.hide(this, 'constructor', value)
  },
  enumerable: false,
  configurable: true,
})

/** `then` looks up the constructor again. */
function watch(promise) {
  if (isAdding) return
  isAdding = true
  try {
    P.promiseThen(promise, undefined, report)
  } catch {
    // No promise, or a species of user code that throws.
  } finally {
    isAdding = false
  }
}

function report(reason) {
  if (!P.isError(reason) || P.prototypeOf(reason) !== P.Error.prototype) return
  if (P.descriptorOf(reason, 'message')?.value !== NOT_SUPPORTED) return
  try {
    ask('refused', 'import')
  } catch {
    // The job has ended.
  }
}
