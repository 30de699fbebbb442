// Runs the job of this isolate. The host reads `job` off the global object exactly once: that removes the name,
// fetches the task, and returns the function that receives user code.
import { P } from './primordials.js'
import { ask, bound, define, network, part } from './scope.js'

const { describe, serialise } = bound
const PENDING_CALLS_MAX = 1000
const CALL_UNITS_MAX = 4 * 2 ** 20
/** Calls of the caller's functions that the host answers at a time; it refuses further ones, so they wait here. */
const HOST_CALLS_AT_ONCE = 16

const HOST_CALL = 'host.call'

let task
/** Inputs of a batch, one a call. */
let inputs
let ended = false
/** The job returned no value, and ends when no timer or call is pending. */
let waits = false
const calls = new P.Map()
let lastCall = 0
/** Calls of the caller's functions: numbers of those under way, and arguments of those that wait, in order. */
const underWay = new P.Set()
const queue = { __proto__: null, first: 0, next: 0, calls: { __proto__: null } }

P.defineProperty(globalThis, 'job', {
  __proto__: null,
  get() {
    take()
    return task.entry === 'module' || task.entry === 'session' ? realm : enter
  },
  set(callee) {
    take()
    enter(callee)
  },
  configurable: true,
})

function take() {
  delete globalThis.job
  task = P.parse(ask('task'))
  const input = parse(ask('input'))
  if (task.calls === undefined) bound.input = input
  else inputs = input
  define('input', bound.input)
  define('call', callCapability)
  if (task.network) network()
  if (task.mayImport) part('imports')
  const names = task.functions ?? []
  for (let index = 0; index < names.length; index++)
    if (!P.hasOwn(globalThis, names[index])) define(names[index], functionOf(names[index]))
}

/** Function of the caller's process; one with the name of another global is called by `call` alone. */
function functionOf(name) {
  return function () {
    const args = P.setPrototypeOf([name], null)
    for (let index = 0; index < arguments.length; index++) args[index + 1] = arguments[index]
    return callCapability(HOST_CALL, args)
  }
}

/** Text without a backslash cannot trigger V8's bug with escaped keys. */
function parse(text) {
  return P.indexOf(text, '\\') < 0 ? P.parse(text) : part('parse').parse(text)
}

function enter(callee) {
  if (inputs !== undefined) batch(callOf(callee))
  else if (task.entry === 'body') follow(callee())
  else if (task.entry === 'handler')
    promise(() => part('handler').run(callee, bound.input, context()))
  else promise(() => called(callee))
}

/** Function for each batch call; the code around a handler runs once. */
function callOf(callee) {
  if (task.entry === 'body') return callee
  if (task.entry !== 'handler') return () => called(callee)
  const { invoke, load } = part('handler')
  const handler = load(callee)
  return () => invoke(handler, bound.input, context())
}

function called(callee) {
  if (typeof callee === 'function') return callee(bound.input)
  throw new P.TypeError('Cannot run the job: its source is not one function')
}

function eachOf(namespace) {
  const main = namespace[task.exportName]
  if (typeof main === 'function') batch(() => main(bound.input, context()))
  else fail(new P.TypeError('Cannot call the job: its default export is not a function'))
}

/** Runs a batch serially in this realm. An exception belongs to its call only. */
function batch(invoke) {
  // An async function's own promise is followed without calling user code.
  const isOwn = task.entry === 'body'
  const step = (index) => {
    try {
      if (index === task.calls) return end('ok', 'json', 'null')
      bound.input = inputs[index]
      define('input', bound.input)
      ask('begin')
      const own = isOwn ? invoke() : new P.Promise((resolve) => resolve(invoke()))
      const next = (tell) => (value) => {
        tell(value)
        step(index + 1)
      }
      then(own, next(answer), next(fault))
    } catch (thrown) {
      fail(thrown)
    }
  }
  step(0)
}

function answer(value) {
  try {
    const result = serialise(value, task.resultUnitsMax)
    if (result.code === undefined) ask('answer', result.encoding, result.text)
    else ask('fault', P.stringify({ __proto__: null, code: result.code, message: result.message }))
  } catch (thrown) {
    fault(thrown)
  }
}

function fault(thrown) {
  const error = describe(thrown)
  error.code = 'USER_ERROR'
  ask('fault', P.stringify(error))
}

/** Exported classes are not called. */
const isClass = (value) =>
  typeof value === 'function' && P.slice(P.functionToString(value), 0, 6) === 'class '

/** Interface for the internal modules between the job's own. */
const realm = {
  __proto__: null,
  /** A default export that is a function is called; any other is the result. */
  exported(namespace) {
    if (inputs !== undefined) return eachOf(namespace)
    promise(() => {
      const main = namespace[task.exportName]
      if (task.guessed && isClass(main)) return undefined
      return typeof main === 'function' ? main(bound.input, context()) : main
    })
  },
  bridge: (path) => bound.bridge(path),
  loaded: (id, namespace) => bound.loaded(id, namespace),
}
/** Runs a CommonJS file for the linker; returns its exported names. */
bound.run = (path) => {
  try {
    part('commonjs')
    ask('names', bound.require(path))
  } catch (thrown) {
    fail(thrown)
  }
}

/** Settles once, whether `run` returns, throws, or resolves repeatedly. */
function promise(run) {
  follow(new P.Promise((resolve) => resolve(run())))
}

function follow(own) {
  then(own, succeed, fail)
}

function then(own, resolved, rejected) {
  // `then` looks up the promise's species: without this it would find user code.
  P.defineProperty(own, 'constructor', { __proto__: null, value: undefined })
  P.promiseThen(own, resolved, rejected)
}

function succeed(value) {
  if (ended || waits) return
  if (value === undefined && timers() + P.mapSize(calls) > 0) {
    waits = true
    ask('wait')
    return
  }
  try {
    const result = serialise(value, task.resultUnitsMax)
    if (result.code === undefined) end('ok', result.encoding, result.text)
    else end('error', P.stringify({ __proto__: null, code: result.code, message: result.message }))
  } catch (thrown) {
    fail(thrown)
  }
}

function fail(thrown) {
  if (ended) return
  const error = describe(thrown)
  error.code = 'USER_ERROR'
  end('error', P.stringify(error))
}

const timers = () => (bound.timers === undefined ? 0 : bound.timers())

/** Called after each visit, once a job waits. */
bound.idle = () => {
  if (!ended && timers() + P.mapSize(calls) === 0) end('ok', 'json', 'null')
}

function end(status, first, second) {
  ended = true
  bound.endWatch()
  ask(status, first, second, timers() + ' ' + P.mapSize(calls))
}
/** Opens a session: later calls of `cell` run its cells. */
bound.open = () => {
  if (task === undefined) take()
  part('session')
}
bound.call = startCall
/** Drops a call whose caller gave it up: the job does not wait for its answer, and a fetch ends. */
bound.forget = (id) => {
  if (P.mapDelete(calls, id)) ask('forget', id)
}
bound.fail = fail
bound.tick = () => undefined

function context() {
  return {
    call: callCapability,
    getRemainingTimeInMillis: () => P.max(0, task.timeoutMs - bound.now()),
  }
}

function callCapability(name, args) {
  return startCall(name, args)
}

/** `started` gets the number of the call. */
function startCall(name, args, started) {
  return new P.Promise((resolve, reject) => {
    if (typeof name !== 'string' || name.length > 200) {
      throw new P.TypeError('Cannot call a capability: its name is not a short string')
    }
    if (P.mapSize(calls) >= PENDING_CALLS_MAX) {
      throw new P.RangeError(
        'Cannot call "' + name + '": ' + PENDING_CALLS_MAX + ' calls are waiting already',
      )
    }
    const text = argumentsText(name, args)
    if (text.length > CALL_UNITS_MAX) {
      const callee = calleeOf(name, args)
      throw new P.RangeError('Cannot call "' + callee + '": the arguments are larger than 4 MiB')
    }
    const id = ++lastCall
    P.mapSet(calls, id, { __proto__: null, resolve, reject, owner: bound.owner })
    if (name === HOST_CALL) {
      queue.calls[queue.next++] = { __proto__: null, id, text }
      beginHostCalls()
    } else ask('call', id, name, text)
    started?.(id)
  })
}

/** Begins calls of the caller's functions that wait, while there is a place for one. */
function beginHostCalls() {
  while (queue.first < queue.next && P.setSize(underWay) < HOST_CALLS_AT_ONCE) {
    const { id, text } = queue.calls[queue.first]
    delete queue.calls[queue.first++]
    const waiting = P.mapGet(calls, id)
    if (waiting === undefined) continue
    P.setAdd(underWay, id)
    try {
      ask('call', id, HOST_CALL, text)
    } catch (thrown) {
      P.setDelete(underWay, id)
      P.mapDelete(calls, id)
      waiting.reject(thrown)
    }
  }
}

/** Throws a TypeError with the callee and the argument that is no JSON. */
function argumentsText(name, args) {
  try {
    const text = P.stringify(args === undefined ? null : args)
    if (text !== undefined) return text
  } catch (thrown) {
    const which = argumentOf(name, args)
    const message = which + ' cannot be sent as JSON: ' + describe(thrown).message
    throw new P.TypeError('Cannot call "' + calleeOf(name, args) + '": ' + message, {
      __proto__: null,
      cause: thrown,
    })
  }
  throw new P.TypeError('Cannot call "' + name + '": the arguments are not data')
}

/** Function of the caller that is called, or the capability. */
const calleeOf = (name, args) =>
  name === HOST_CALL && P.isArray(args) && typeof args[0] === 'string'
    ? P.slice(args[0], 0, 200)
    : name

/** First argument that has no JSON, by its number. */
function argumentOf(name, args) {
  const before = name === HOST_CALL ? 1 : 0
  for (let index = before; P.isArray(args) && index < args.length; index++)
    try {
      P.stringify(args[index])
    } catch {
      return 'argument ' + (index + 1 - before)
    }
  return 'its argument'
}

bound.reply = (id, isOk, text, owner) => {
  bound.owner = owner
  if (P.setDelete(underWay, id)) beginHostCalls()
  const waiting = P.mapGet(calls, id)
  if (waiting === undefined) return
  P.mapDelete(calls, id)
  try {
    const value = parse(text)
    if (isOk) waiting.resolve(value)
    else waiting.reject(refusal(value))
  } catch (thrown) {
    waiting.reject(thrown)
  }
}

bound.dropCalls = (owner) => {
  P.mapForEach(calls, (waiting, id) => waiting.owner === owner && bound.forget(id))
}

function refusal(value) {
  const error = new P.Error(value.message)
  P.hide(error, 'name', value.name)
  P.hide(error, 'code', value.code)
  return error
}
