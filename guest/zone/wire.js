// Zone messaging, appended as text to each zone's program (src/zones/carve.ts). Only plain data passes, by value;
// other values are refused at the sender, so that no zone holds an object of another.
const CHANNEL = 'mayfly.zone'
const DEPTH_MAX = 500
/** Bounds of an error on a channel. */
const NAME_UNITS_MAX = 1000
const MESSAGE_UNITS_MAX = 65_536
const { defineProperty, getOwnPropertyDescriptor, getPrototypeOf, prototype, is } = Object
const { ownKeys, apply } = Reflect
const { isArray } = Array
const errors = { Error, EvalError, RangeError, SyntaxError, TypeError, URIError }
const text = String
const cut = String.prototype.slice
const toTime = Date.prototype.getTime
const eachOfMap = Map.prototype.forEach
const eachOfSet = Set.prototype.forEach
const protoOfArray = Array.prototype

/** Channels of a zone: the calling and the serving end, over the job's capability call. */
export function openChannels(call) {
  async function ask(to, args) {
    const reply = await call(CHANNEL, { to, args: encode(args, 0, new Map()) })
    if (reply.error === undefined) return decode(reply.value, [])
    if (!reply.error.isError) throw decode(reply.error.value, [])
    const { name, message } = reply.error
    const Made = Object.hasOwn(errors, name) ? errors[name] : Error
    throw new Made(message)
  }

  /** Answers calls until the channel closes. */
  async function serve(callee) {
    for (;;) {
      const next = await call(CHANNEL, { next: true })
      if (next.over) return null
      void answer(callee, next)
    }
  }

  async function answer(callee, { id, args }) {
    const reply = { id }
    try {
      reply.value = encode(await callee(...decode(args, [])), 0, new Map())
    } catch (thrown) {
      reply.error = described(thrown)
    }
    try {
      await call(CHANNEL, { reply })
    } catch {
      // The reply exceeds the channel's limit; the caller still needs an error.
      const message = 'The reply exceeds the limits of the channel'
      const error = { isError: true, name: 'RangeError', message }
      try {
        await call(CHANNEL, { reply: { id, error } })
      } catch {
        // The caller has ended.
      }
    }
  }

  return { ask, serve }
}

function refuse() {
  throw new TypeError('Cannot pass this between zones: it is not plain data')
}

function encode(value, depth, seen) {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value
    case 'number':
      return value - value === 0 && !is(value, -0)
        ? value
        : ['n', is(value, -0) ? '-0' : text(value)]
    case 'undefined':
      return ['u']
    case 'bigint':
      return ['b', text(value)]
    case 'object':
      return value === null ? null : encodeObject(value, depth, seen)
    default:
      return refuse()
  }
}

function encodeObject(value, depth, seen) {
  if (depth > DEPTH_MAX) refuse()
  const known = seen.get(value)
  if (known !== undefined) return ['r', known]
  seen.set(value, seen.size)
  const proto = getPrototypeOf(value)
  if (proto === protoOfArray) return encodeList(value, depth, seen)
  if (proto === prototype || proto === null) return encodeRecord(value, depth, seen, proto)
  if (ownKeys(value).length > 0) refuse()
  if (proto === Date.prototype) return ['d', encode(apply(toTime, value, []), 0, seen)]
  const list = []
  if (proto === Set.prototype)
    apply(eachOfSet, value, [(one) => add(list, encode(one, depth + 1, seen))])
  else if (proto === Map.prototype)
    apply(eachOfMap, value, [
      (one, key) => add(list, [encode(key, depth + 1, seen), encode(one, depth + 1, seen)]),
    ])
  else refuse()
  return [proto === Set.prototype ? 's' : 'm', list]
}

function encodeList(value, depth, seen) {
  if (ownKeys(value).length !== value.length + 1) refuse()
  const list = []
  for (let index = 0; index < value.length; index++)
    add(list, encode(dataOf(value, text(index)), depth + 1, seen))
  return ['a', list]
}

function encodeRecord(value, depth, seen, proto) {
  const keys = ownKeys(value)
  const list = []
  for (let index = 0; index < keys.length; index++) {
    if (typeof keys[index] !== 'string') refuse()
    add(list, [keys[index], encode(dataOf(value, keys[index]), depth + 1, seen)])
  }
  return [proto === null ? 'z' : 'o', list]
}

function dataOf(object, key) {
  const found = getOwnPropertyDescriptor(object, key)
  if (found === undefined || found.get || found.set) refuse()
  if (!found.enumerable || !found.writable || !found.configurable) refuse()
  return found.value
}

function add(list, value) {
  put(list, list.length, value)
}

function put(object, key, value) {
  defineProperty(object, key, {
    __proto__: null,
    value,
    writable: true,
    enumerable: true,
    configurable: true,
  })
}

function decode(coded, seen) {
  if (typeof coded !== 'object' || coded === null) return coded
  const [kind, inner] = coded
  if (kind === 'u') return undefined
  if (kind === 'n') return +inner
  if (kind === 'b') return BigInt(inner)
  if (kind === 'r') return seen[inner]
  const made = kind === 'd' ? new Date(decode(inner, seen)) : empty(kind)
  add(seen, made)
  if (kind !== 'd') fill(made, kind, inner, seen)
  return made
}

function empty(kind) {
  if (kind === 'a') return []
  if (kind === 's') return new Set()
  if (kind === 'm') return new Map()
  return kind === 'z' ? { __proto__: null } : {}
}

function fill(made, kind, inner, seen) {
  // The length comes from the other zone: only a real list has as many elements.
  if (!isArray(inner)) refuse()
  for (let index = 0; index < inner.length; index++) {
    const one = inner[index]
    if (kind === 'a') add(made, decode(one, seen))
    else if (kind === 's') made.add(decode(one, seen))
    else if (kind === 'm') made.set(decode(one[0], seen), decode(one[1], seen))
    else put(made, one[0], decode(one[1], seen))
  }
}

function beginning(value, unitsMax) {
  return apply(cut, text(value), [0, unitsMax])
}

function described(thrown) {
  try {
    if (thrown instanceof Error)
      return {
        isError: true,
        name: beginning(thrown.name, NAME_UNITS_MAX),
        message: beginning(thrown.message, MESSAGE_UNITS_MAX),
      }
    return { isError: false, value: encode(thrown, 0, new Map()) }
  } catch {
    return { isError: true, name: 'Error', message: 'The zone threw what cannot be told' }
  }
}
