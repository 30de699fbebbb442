// Removes the realm's own frames, and that of the wrapper function around a job's code, from every `stack` that the job
// reads. V8 calls `Error.prepareStackTrace` when a stack is first read; a job may set its own, which then gets all frames.
// Not handled: removed frames count in the limit of ten frames.
import { P } from './primordials.js'

const REALM = 'mayfly:realm'
const { Error } = P
const errorToString = P.uncurry(Error.prototype.toString)

/** The prototype of call sites is reachable only through a stack trace. */
const site = (() => {
  let prototype
  Error.prepareStackTrace = (_error, sites) => {
    prototype = P.prototypeOf(sites[0])
  }
  void new Error().stack
  delete Error.prepareStackTrace
  const method = (name) => P.uncurry(prototype[name])
  return {
    __proto__: null,
    file: method('getFileName'),
    column: method('getColumnNumber'),
    text: method('toString'),
  }
})()

/** First line of a stack. Never throws, although `name` and `message` may be getters of the job. */
function headOf(error) {
  try {
    return errorToString(error)
  } catch {
    return '<error>'
  }
}

P.hide(Error, 'prepareStackTrace', (error, sites) => {
  let text = headOf(error)
  for (let index = 0; index < sites.length; index++) {
    const one = sites[index]
    const file = site.file(one)
    // Columns below 1 of the job's file belong to the wrapper function.
    if (file === REALM || (typeof file === 'string' && site.column(one) === null)) continue
    text += `\n    at ${site.text(one)}`
  }
  return text
})
