import { unitsOfStep } from './schema-budget.ts'
import type { JsonObject, CheckContext } from './schema-walk.ts'

/**
 * Deep equality of JSON values, independent of key order. Charges a step per compared member and stops at the first
 * difference; texts are compared only at equal length.
 */
export function isEqual(a: unknown, b: unknown, walk: CheckContext): boolean {
  walk.spend(1)
  if (typeof a === 'string' && typeof b === 'string') {
    if (a.length !== b.length) return false
    walk.spend(a.length / unitsOfStep)
    return a === b
  }
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b
  if (Array.isArray(a) !== Array.isArray(b)) return false
  walk.enter()
  const isIt = Array.isArray(a)
    ? haveSameItems(a, b as readonly unknown[], walk)
    : haveSameMembers(a as JsonObject, b as JsonObject, walk)
  walk.leave()
  return isIt
}

function haveSameItems(a: readonly unknown[], b: readonly unknown[], walk: CheckContext): boolean {
  if (a.length !== b.length) return false
  for (let at = 0; at < a.length; at++) if (!isEqual(a[at], b[at], walk)) return false
  return true
}

function haveSameMembers(a: JsonObject, b: JsonObject, walk: CheckContext): boolean {
  const keys = walk.keys(a)
  if (keys.length !== walk.keys(b).length) return false
  for (const key of keys) {
    if (!Object.hasOwn(b, key) || !isEqual(a[key], b[key], walk)) return false
  }
  return true
}

/** Up to this many items, pairwise comparison is faster than a hash table. */
const itemsFew = 8

/**
 * True if no item occurs twice. Uses its own hash table with order-independent hashes of objects: V8's number hashes
 * are unseeded, and collisions here only cost the attacker's own steps.
 */
export function areDistinct(items: readonly unknown[], walk: CheckContext): boolean {
  if (items.length > itemsFew) return haveOwnSlots(items, walk)
  return items.every((item, place) => {
    for (let at = 0; at < place; at++) if (isEqual(items[at], item, walk)) return false
    return true
  })
}

/** Slot value: item index + 1, or 0 if free; at least half the slots stay free. */
function haveOwnSlots(items: readonly unknown[], walk: CheckContext): boolean {
  walk.spend(items.length / 16)
  const last = 2 ** Math.ceil(Math.log2(items.length * 2)) - 1
  const slots = new Int32Array(last + 1)
  const prints = new Int32Array(items.length)
  for (const [place, item] of items.entries()) {
    walk.spend(2)
    const print = printOf(item, walk)
    prints[place] = print
    let slot = spread(print) & last
    for (let held = slots[slot]!; held !== 0; held = slots[slot]!) {
      walk.spend(1)
      if (prints[held - 1] === print && isEqual(items[held - 1], item, walk)) return false
      slot = (slot + 1) & last
    }
    slots[slot] = place + 1
  }
  return true
}

/** 32-bit hash, equal for equal values. */
function printOf(value: unknown, walk: CheckContext): number {
  walk.spend(1)
  if (typeof value === 'string') return printOfText(value, walk)
  if (typeof value === 'number') return printOfNumber(value)
  if (typeof value !== 'object' || value === null) return value === null ? 3 : value ? 5 : 7
  walk.enter()
  const print = Array.isArray(value)
    ? printOfItems(value, walk)
    : printOfMembers(value as JsonObject, walk)
  walk.leave()
  return print
}

function printOfItems(items: readonly unknown[], walk: CheckContext): number {
  let print = 11
  for (const item of items) print = mix(print, printOf(item, walk))
  return print
}

function printOfMembers(members: JsonObject, walk: CheckContext): number {
  let print = 19
  for (const key of walk.keys(members)) {
    print = (print + mix(printOfText(key, walk), printOf(members[key], walk))) | 0
  }
  return print
}

function printOfText(text: string, walk: CheckContext): number {
  walk.spend(text.length / unitsOfStep)
  let print = 13
  for (let at = 0; at < text.length; at++) print = mix(print, text.charCodeAt(at))
  return print
}

const double = new Float64Array(1)
const words = new Int32Array(double.buffer)

/** Hashes the bits; adding 0 turns -0 into 0, which JSON does not distinguish. */
function printOfNumber(value: number): number {
  double[0] = value + 0
  return mix(mix(17, words[0]!), words[1]!)
}

function mix(print: number, part: number): number {
  const mixed = Math.imul(print ^ part, 0x9e3779b1)
  return mixed ^ (mixed >>> 15)
}

/** Avalanche step of MurmurHash3: each input bit affects each slot bit. */
function spread(print: number): number {
  const half = Math.imul(print ^ (print >>> 16), 0x85ebca6b)
  const whole = Math.imul(half ^ (half >>> 13), 0xc2b2ae35)
  return whole ^ (whole >>> 16)
}
