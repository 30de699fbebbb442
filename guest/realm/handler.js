// `exports.handler` as in cloud functions: result, promise, or callback.
import { P } from './primordials.js'
import { ask, part } from './scope.js'

function run(source, input, context) {
  return invoke(load(source), input, context)
}

/** Function exported by the source. */
function load(source) {
  const name = ask('name')
  const module = { id: name, exports: {} }
  const require = part('commonjs').requireFrom(name)
  P.apply(source, module.exports, [module.exports, require, module])
  const handler = module.exports?.handler
  if (typeof handler !== 'function')
    throw new P.TypeError('Cannot run the job: exports.handler is not a function')
  return handler
}

function invoke(handler, input, context) {
  return new P.Promise((resolve, reject) => settle(handler, input, context, resolve, reject))
}

function settle(handler, input, context, resolve, reject) {
  const callback = (error, value) => {
    if (error === undefined || error === null) resolve(value)
    else reject(error)
  }
  const answer = P.apply(handler, undefined, [input, context, callback])
  // A callback parameter ends the handler, as in AWS Lambda: a timer's id that it returns is no result.
  if (handler.length < 3 || typeof answer?.then === 'function') resolve(answer)
}

export { run, load, invoke }
