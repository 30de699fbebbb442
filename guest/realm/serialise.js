// Serialises a result inside the isolate, under its deadline: getters and proxies are user code. Plain JSON if
// that is lossless, else `tagged`. An object is its own enumerable string keys, or what its `toJSON` returns; one on
// `Object.prototype`, which any code can put there, is ignored, and so is that of data with a form of its own, as a Date.
// A value whose state no property shows, such as a promise, an iterator or an instance with private fields alone, is
// refused by its path: as `{}` it would be lost without a word.
import { text } from './describe.js'
import { P } from './primordials.js'

const DEPTH_MAX = 512
const BIGINT_BITS_MAX = 2 ** 20
const PATH_CHARS_MAX = 300
const KEY_CHARS_MAX = 40
const PROTOTYPES_MAX = 100
const IDENTIFIER = /^[A-Za-z_$][\w$]*$/

const STOP = P.freeze({ __proto__: null })
let refusal
let out, room, tagged, wrapTypeKeys, sawTypeKey, ancestors, keys, depth, framesOf

/**
 * `{ encoding, text }`, or `{ code, message }`; rethrows exceptions of user code. `frames` rewrites the stack of an error, to
 * positions in the user's source.
 */
function serialise(value, unitsMax, frames) {
  framesOf = frames
  try {
    if (value === undefined) return { __proto__: null, encoding: 'json', text: 'null' }
    pass(value, unitsMax, false)
    // Only the tagged form reserves `$type`, so only there must it be wrapped.
    if (tagged && sawTypeKey) pass(value, unitsMax, true)
    return { __proto__: null, encoding: tagged ? 'tagged' : 'json', text: out }
  } catch (thrown) {
    if (thrown === STOP) return refusal
    throw thrown
  } finally {
    out = ancestors = keys = undefined
  }
}

function pass(value, unitsMax, wrap) {
  out = ''
  room = unitsMax
  tagged = sawTypeKey = false
  wrapTypeKeys = wrap
  ancestors = new P.Set()
  keys = P.setPrototypeOf([], null)
  depth = 0
  write(value)
}

function write(value) {
  switch (typeof value) {
    case 'string':
      return quote(value)
    case 'number':
      return number(value)
    case 'boolean':
      return put(value ? 'true' : 'false')
    case 'undefined':
      tagged = true
      return put('{"$type":"undefined"}')
    case 'bigint':
      return bigint(value)
    case 'object':
      return value === null ? put('null') : object(value)
    default:
      return stop('RESULT_NOT_SERIALISABLE', 'holds a ' + typeof value)
  }
}

function put(text) {
  if ((room -= text.length) < 0)
    stop('RESULT_TOO_LARGE', 'takes more bytes than this job may return')
  out += text
}

function quote(text) {
  if (text.length > room) stop('RESULT_TOO_LARGE', 'takes more bytes than this job may return')
  put(P.stringify(text))
}

function number(value) {
  if (value === 0 ? P.is(value, -0) : value - value !== 0) {
    tag('number', value === 0 ? '"-0"' : '"' + value + '"')
  } else put('' + value)
}

function bigint(value) {
  // BigInt to text is native work without interruption, so its size is checked first.
  if (P.bigIntAsIntN(BIGINT_BITS_MAX, value) !== value) {
    stop('RESULT_TOO_LARGE', 'holds a BigInt of more than 1,048,575 bits')
  }
  tag('BigInt', '"' + P.bigIntToString(value) + '"')
}

function tag(type, text) {
  tagged = true
  put('{"$type":"' + type + '","value":' + text + '}')
}

function object(value) {
  if (P.setHas(ancestors, value)) stop('RESULT_CIRCULAR', 'contains itself')
  if (depth === DEPTH_MAX) stop('RESULT_TOO_DEEP', 'is nested deeper than ' + DEPTH_MAX + ' levels')
  P.setAdd(ancestors, value)
  keys[depth++] = undefined
  members(value)
  depth--
  P.setDelete(ancestors, value)
}

function members(value, isMade = false) {
  const prototype = P.prototypeOf(value)
  if (P.isArray(value)) list(value)
  else if (prototype === P.ObjectPrototype || prototype === null) record(value, isMade)
  else special(value, prototype, isMade)
}

function list(value) {
  put('[')
  for (let index = 0; index < value.length; index++) {
    if (index > 0) put(',')
    keys[depth - 1] = index
    write(value[index])
  }
  put(']')
}

/** `isMade`: returned by a `toJSON`, so that its own is not called, as in `JSON.stringify`. */
function record(value, isMade) {
  const method = isMade ? undefined : methodOf(value)
  if (method !== undefined) return made(value, P.apply(method, value, [keyOf()]))
  fields(value, P.keys(value), isMade)
}

function fields(value, names, isMade) {
  if (isWrapped(value, names)) return pairs(value, names)
  put('{')
  let separator = ''
  for (let index = 0; index < names.length; index++) {
    const name = (keys[depth - 1] = names[index])
    if (isMade && name === 'toJSON' && typeof value.toJSON === 'function') continue
    put(separator)
    separator = ','
    quote(name)
    put(':')
    write(value[name])
  }
  put('}')
}

function methodOf(value) {
  let at = value
  for (let hops = 0; at !== null && at !== P.ObjectPrototype && hops < PROTOTYPES_MAX; hops++) {
    if (P.hasOwn(at, 'toJSON')) {
      const method = value.toJSON
      return typeof method === 'function' ? method : undefined
    }
    at = P.prototypeOf(at)
  }
  return undefined
}

const keyOf = () => (depth > 1 ? '' + keys[depth - 2] : '')

function made(from, value) {
  if (typeof value !== 'object' || value === null) return write(value)
  if (value === from) return record(value, true)
  if (P.setHas(ancestors, value)) stop('RESULT_CIRCULAR', 'contains itself')
  P.setAdd(ancestors, value)
  members(value, true)
  P.setDelete(ancestors, value)
}

function isWrapped(value, names) {
  // `__proto__` as a key is safe only in the pair form: a reader that assigns keys would set the prototype.
  if (P.isEnumerable(value, '__proto__')) return (tagged = true)
  if (names.length > 0 && P.isEnumerable(value, '$type')) sawTypeKey = true
  else return false
  return wrapTypeKeys
}

function pairs(value, names) {
  put('{"$type":"object","value":[')
  for (let index = 0; index < names.length; index++) {
    const name = (keys[depth - 1] = names[index])
    put(index > 0 ? ',[' : '[')
    quote(name)
    put(',')
    write(value[name])
    put(']')
  }
  put(']}')
}

function special(value, prototype, isMade) {
  for (let hops = 0; prototype !== null && hops < PROTOTYPES_MAX; hops++) {
    const writer = P.mapGet(writers, prototype)
    if (writer !== undefined && writer(value)) return
    if (P.isView(value)) return view(value)
    prototype = P.prototypeOf(prototype)
  }
  instance(value, isMade)
}

function instance(value, isMade) {
  const method = isMade ? undefined : methodOf(value)
  if (method !== undefined) return made(value, P.apply(method, value, [keyOf()]))
  if (P.isError?.(value)) return failure(value)
  if (typeof value.then === 'function') stop('RESULT_NOT_AWAITED', 'is a promise: await it')
  const names = P.keys(value)
  if (names.length === 0) bare(value)
  else fields(value, names, isMade)
}

/** Object without an enumerable property: its state is in slots or private fields, if it has any. */
function bare(value) {
  const pattern = slotOf(P.regExpSource, value)
  if (pattern !== undefined) return regExp(value, pattern)
  const query = slotOf(queryText, value)
  if (query !== undefined) return quote(query)
  if (!isPlain(value)) stop('RESULT_NOT_SERIALISABLE', opaque(value))
  put('{}')
}

function slotOf(read, value) {
  try {
    return read(value)
  } catch {
    return undefined
  }
}

/** Empty object of another realm too, such as a context of `node:vm`: its prototype has none. */
function isPlain(value) {
  const prototype = P.prototypeOf(value)
  return prototype === null || P.prototypeOf(prototype) === null
}

function opaque(value) {
  const name = className(value)
  const kind = name === undefined ? 'an object' : 'an instance of ' + name
  return 'is ' + kind + ' without enumerable properties: return its data, or give it a toJSON'
}

/** Name of the nearest class, read from descriptors only. */
function className(value) {
  let at = P.prototypeOf(value)
  for (let hops = 0; at !== null && hops < PROTOTYPES_MAX; hops++) {
    const made = P.constructorOf(at)
    const name = typeof made === 'function' ? P.descriptorOf(made, 'name')?.value : undefined
    const told = name || P.descriptorOf(at, P.symbolToStringTag)?.value
    if (typeof told === 'string' && told !== '') return P.slice(told, 0, KEY_CHARS_MAX)
    at = P.prototypeOf(at)
  }
  return undefined
}

function regExp(value, source) {
  tag('RegExp', '{"source":' + P.stringify(source) + ',"flags":"' + P.regExpFlags(value) + '"}')
}

const TEXTS = ['name', 'message', 'stack']
/** Properties that tell why; not enumerable, unless the program defined them so. */
const REASONS = ['cause', 'errors', 'error', 'suppressed']

/** Writes its texts, its reasons, then its own enumerable properties, such as the `code` of an error of Node. */
function failure(value) {
  tagged = true
  put('{"$type":"Error","value":')
  const names = P.keys(value)
  const hasPairs = isWrapped(value, names)
  const [open, between, after, close] = hasPairs
    ? ['{"$type":"object","value":[', ',', ']', ']}']
    : ['{', ':', '', '}']
  put(open)
  let separator = hasPairs ? '[' : ''
  const member = (name) => {
    put(separator)
    separator = hasPairs ? ',[' : ','
    quote(name)
    put(between)
  }
  for (let index = 0; index < TEXTS.length; index++) {
    const told = textOf(value, TEXTS[index])
    if (told === undefined) continue
    member(TEXTS[index])
    quote(told)
    put(after)
  }
  const own = reasonsOf(value, names)
  for (let index = 0; index < own.length; index++) {
    const name = (keys[depth - 1] = own[index])
    member(name)
    write(value[name])
    put(after)
  }
  put(close + '}')
}

/** Getters that throw are no reason to lose the error. Without a stack there is none to tell. */
function textOf(value, name) {
  const told = text(value, name, room)
  if (name !== 'stack') return told ?? (name === 'name' ? 'Error' : '')
  return told && framesOf !== undefined ? framesOf(told) : told
}

function reasonsOf(value, names) {
  const own = P.setPrototypeOf([], null)
  for (let index = 0; index < REASONS.length; index++) {
    const property = P.descriptorOf(value, REASONS[index])
    if (property !== undefined && !property.enumerable && P.hasOwn(property, 'value'))
      own[own.length] = REASONS[index]
  }
  for (let index = 0; index < names.length; index++)
    if (P.indexOf(' name message stack ', ' ' + names[index] + ' ') < 0)
      own[own.length] = names[index]
  return own
}

let queryText = P.queryToString ?? (() => undefined)
/** Sets the reader of a query where its class is loaded later; it throws for any other value. */
const readQueryBy = (reader) => (queryText = reader)

// Each returns false for an object that merely inherits: the slot decides, not the prototype.
const writers = new P.Map()
const onPrototype = (prototype, read, writer) => {
  P.mapSet(writers, prototype, (value) => {
    let slot
    try {
      slot = read(value)
    } catch {
      return false
    }
    writer(value, slot)
    return true
  })
}
onPrototype(P.DatePrototype, P.dateGetTime, (value, time) => {
  tag('Date', time === time ? '"' + P.dateToISO(value) + '"' : 'null')
})
onPrototype(P.MapPrototype, P.mapSize, (value) => {
  tagged = true
  put('{"$type":"Map","value":[')
  let index = 0
  P.mapForEach(value, (item, key) => {
    keys[depth - 1] = index
    put(index++ > 0 ? ',[' : '[')
    write(key)
    put(',')
    write(item)
    put(']')
  })
  put(']}')
})
onPrototype(P.SetPrototype, P.setSize, (value) => {
  tagged = true
  put('{"$type":"Set","value":[')
  let index = 0
  P.setForEach(value, (item) => {
    keys[depth - 1] = index
    if (index++ > 0) put(',')
    write(item)
  })
  put(']}')
})
onPrototype(P.BufferPrototype, P.bufferByteLength, (value) => bytes(new P.Uint8Array(value)))
onPrototype(P.StringPrototype, P.valueOfString, (value, slot) => write(slot))
onPrototype(P.NumberPrototype, P.valueOfNumber, (value, slot) => write(slot))
onPrototype(P.BooleanPrototype, P.valueOfBoolean, (value, slot) => write(slot))
onPrototype(P.BigIntPrototype, P.valueOfBigInt, (value, slot) => write(slot))
onPrototype(P.SymbolPrototype, P.valueOfSymbol, (value, slot) => write(slot))

function view(value) {
  const typed = P.typedTag(value) !== undefined
  bytes(
    new P.Uint8Array(
      typed ? P.typedBuffer(value) : P.viewBuffer(value),
      typed ? P.typedOffset(value) : P.viewOffset(value),
      typed ? P.typedByteLength(value) : P.viewByteLength(value),
    ),
  )
}

function bytes(source) {
  const length = P.typedLength(source)
  if ((length * 4) / 3 > room) {
    stop('RESULT_TOO_LARGE', 'takes more bytes than this job may return')
  }
  tag('bytes', '"' + P.toBase64(source) + '"')
}

function stop(code, what) {
  refusal = {
    __proto__: null,
    code,
    message: 'Cannot return the result: "' + path() + '" ' + what,
  }
  throw STOP
}

function path() {
  let text = 'result'
  for (let index = 0; index < depth && text.length < PATH_CHARS_MAX; index++) {
    const key = keys[index]
    if (key === undefined) break
    if (typeof key === 'number') text += '[' + key + ']'
    else if (P.regExpExec(IDENTIFIER, key) !== null && key.length <= KEY_CHARS_MAX)
      text += '.' + key
    else text += '[' + P.stringify(P.slice(key, 0, KEY_CHARS_MAX)) + ']'
  }
  return text
}

export { readQueryBy, serialise }
