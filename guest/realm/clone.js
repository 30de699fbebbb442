// structuredClone for the types that exist here, cycles included.
import { P } from './primordials.js'
import { part } from './scope.js'

const DEPTH_MAX = 2000

function structuredClone(value, options) {
  if (arguments.length === 0) throw new P.TypeError('Cannot clone: the value is missing')
  const memory = new P.Map()
  const moved = transfers(options)
  for (let index = 0; index < moved.length; index++) P.mapSet(memory, moved[index], PENDING)
  const copy = clone(value, memory, 0)
  for (let index = 0; index < moved.length; index++) {
    if (P.mapGet(memory, moved[index]) === PENDING) P.bufferTransfer(moved[index])
  }
  return copy
}

const PENDING = P.freeze({ __proto__: null })

function transfers(options) {
  const moved = P.setPrototypeOf([], null)
  const given = options?.transfer
  if (given === undefined) return moved
  for (let index = 0; index < given.length; index++) {
    const item = given[index]
    P.bufferByteLength(item)
    moved[index] = item
  }
  return moved
}

function refuse(what) {
  const { DOMException } = part('dom-exception')
  return new DOMException('Cannot clone ' + what, 'DataCloneError')
}

function clone(value, memory, depth) {
  if (typeof value === 'function') throw refuse('a function')
  if (typeof value === 'symbol') throw refuse('a symbol')
  if (typeof value !== 'object' || value === null) return value
  if (depth > DEPTH_MAX) throw refuse('something nested deeper than ' + DEPTH_MAX + ' levels')
  const known = P.mapGet(memory, value)
  if (known !== undefined && known !== PENDING) return known
  if (known === PENDING) return keep(memory, value, P.bufferTransfer(value))
  return object(value, memory, depth + 1)
}

function keep(memory, value, copy) {
  P.mapSet(memory, value, copy)
  return copy
}

function object(value, memory, depth) {
  if (P.isArray(value)) return list(value, memory, depth)
  if (P.isView(value)) return view(value, memory, depth)
  if (P.isError(value)) return error(value, memory, depth)
  const slot = slotted(value, memory, depth)
  if (slot !== undefined) return slot
  const copy = keep(memory, value, {})
  properties(value, copy, memory, depth)
  return copy
}

function properties(value, copy, memory, depth) {
  const names = P.keys(value)
  for (let index = 0; index < names.length; index++) {
    P.put(copy, names[index], clone(value[names[index]], memory, depth))
  }
}

function list(value, memory, depth) {
  const copy = keep(memory, value, [])
  copy.length = value.length
  properties(value, copy, memory, depth)
  return copy
}

function view(value, memory, depth) {
  const tag = P.typedTag(value)
  if (tag === undefined) {
    const buffer = clone(P.viewBuffer(value), memory, depth)
    return keep(memory, value, new P.DataView(buffer, P.viewOffset(value), P.viewByteLength(value)))
  }
  const offset = P.typedOffset(value)
  const length = P.typedLength(value)
  const buffer = clone(P.typedBuffer(value), memory, depth)
  return keep(memory, value, new P.typedArrays[tag](buffer, offset, length))
}

function error(value, memory, depth) {
  const { DOMException, isDOMException } = part('dom-exception')
  if (isDOMException(value)) return keep(memory, value, new DOMException(value.message, value.name))
  const name = typeof value.name === 'string' ? value.name : 'Error'
  const copy = keep(memory, value, new (errorClasses[name] ?? P.Error)())
  const message = P.descriptorOf(value, 'message')
  if (message !== undefined && P.hasOwn(message, 'value'))
    P.hide(copy, 'message', P.String(message.value))
  if (typeof value.stack === 'string') P.hide(copy, 'stack', value.stack)
  if (P.hasOwn(value, 'cause')) P.hide(copy, 'cause', clone(value.cause, memory, depth))
  return copy
}

const errorClasses = { __proto__: null }
for (let index = 0; index < 6; index++) errorClasses[P.errors[index].name] = P.errors[index]

/** Type detection by internal slot: each reader throws for an object without it. */
function slotted(value, memory, depth) {
  for (let index = 0; index < readers.length; index++) {
    let slot
    try {
      slot = readers[index].read(value)
    } catch {
      continue
    }
    return readers[index].copy(value, slot, memory, depth)
  }
  if (isOpaque(value)) throw refuse('a promise, a weak collection or another object without data')
  return undefined
}

const boxed = (value, slot, memory) => keep(memory, value, P.Object(slot))
const readers = [
  { read: P.dateGetTime, copy: (value, time, memory) => keep(memory, value, new P.Date(time)) },
  { read: P.mapSize, copy: map },
  { read: P.setSize, copy: set },
  { read: P.bufferByteLength, copy: buffer },
  { read: P.regExpSlot, copy: regExp },
  { read: P.valueOfString, copy: boxed },
  { read: P.valueOfNumber, copy: boxed },
  { read: P.valueOfBoolean, copy: boxed },
  { read: P.valueOfBigInt, copy: boxed },
  { read: P.weakMapProbe, copy: opaque },
  { read: P.weakSetProbe, copy: opaque },
  { read: P.valueOfSymbol, copy: opaque },
]

function opaque() {
  throw refuse('a weak collection or a boxed symbol')
}

function isOpaque(value) {
  for (let at = P.prototypeOf(value); at !== null; at = P.prototypeOf(at)) {
    if (at === P.PromisePrototype) return true
  }
  return false
}

function map(value, _size, memory, depth) {
  const copy = keep(memory, value, new P.Map())
  const entries = P.setPrototypeOf([], null)
  P.mapForEach(value, (item, key) => {
    entries[entries.length] = key
    entries[entries.length] = item
  })
  for (let index = 0; index < entries.length; index += 2) {
    const key = clone(entries[index], memory, depth)
    P.mapSet(copy, key, clone(entries[index + 1], memory, depth))
  }
  return copy
}

function set(value, _size, memory, depth) {
  const copy = keep(memory, value, new P.Set())
  const items = P.setPrototypeOf([], null)
  P.setForEach(value, (item) => {
    items[items.length] = item
  })
  for (let index = 0; index < items.length; index++)
    P.setAdd(copy, clone(items[index], memory, depth))
  return copy
}

function buffer(value, length, memory) {
  // `slice` would consult the buffer's species, which user code may have changed.
  const copy = new P.ArrayBuffer(length)
  P.typedSet(new P.Uint8Array(copy), new P.Uint8Array(value))
  return keep(memory, value, copy)
}

function regExp(value, _slot, memory) {
  return keep(memory, value, new P.RegExp(P.regExpSource(value), P.regExpFlags(value)))
}

export { structuredClone }
