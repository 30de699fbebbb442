import { unitsOfStep } from './schema-budget.ts'
import type { Members, Walk } from './schema-walk.ts'

/**
 * Whether two values of JSON are equal, whatever the order of their keys. Counts a step for each pair of members, so
 * it ends at the first that differ, and a text only where their lengths are the same.
 */
export function isSame(a: unknown, b: unknown, walk: Walk): boolean {
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
    : haveSameMembers(a as Members, b as Members, walk)
  walk.leave()
  return isIt
}

function haveSameItems(a: readonly unknown[], b: readonly unknown[], walk: Walk): boolean {
  if (a.length !== b.length) return false
  for (let at = 0; at < a.length; at++) if (!isSame(a[at], b[at], walk)) return false
  return true
}

function haveSameMembers(a: Members, b: Members, walk: Walk): boolean {
  const keys = walk.keys(a)
  if (keys.length !== walk.keys(b).length) return false
  for (const key of keys) {
    if (!Object.hasOwn(b, key) || !isSame(a[key], b[key], walk)) return false
  }
  return true
}

/** Items that are quicker held against each other than put in a table. */
const itemsFew = 8

/**
 * Whether no item is there twice. A table of its own, and prints of values that need no keys in order: V8's hashes of
 * numbers have no seed, and who makes these collide pays for the comparing in steps.
 */
export function areDistinct(items: readonly unknown[], walk: Walk): boolean {
  if (items.length > itemsFew) return haveOwnSlots(items, walk)
  return items.every((item, place) => {
    for (let at = 0; at < place; at++) if (isSame(items[at], item, walk)) return false
    return true
  })
}

/** A slot holds the place of an item and one, or 0; at least half of them are free. */
function haveOwnSlots(items: readonly unknown[], walk: Walk): boolean {
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
      if (prints[held - 1] === print && isSame(items[held - 1], item, walk)) return false
      slot = (slot + 1) & last
    }
    slots[slot] = place + 1
  }
  return true
}

/** 32 bits that equal values share. */
function printOf(value: unknown, walk: Walk): number {
  walk.spend(1)
  if (typeof value === 'string') return printOfText(value, walk)
  if (typeof value === 'number') return printOfNumber(value)
  if (typeof value !== 'object' || value === null) return value === null ? 3 : value ? 5 : 7
  walk.enter()
  const print = Array.isArray(value)
    ? printOfItems(value, walk)
    : printOfMembers(value as Members, walk)
  walk.leave()
  return print
}

function printOfItems(items: readonly unknown[], walk: Walk): number {
  let print = 11
  for (const item of items) print = mix(print, printOf(item, walk))
  return print
}

function printOfMembers(members: Members, walk: Walk): number {
  let print = 19
  for (const key of walk.keys(members)) {
    print = (print + mix(printOfText(key, walk), printOf(members[key], walk))) | 0
  }
  return print
}

function printOfText(text: string, walk: Walk): number {
  walk.spend(text.length / unitsOfStep)
  let print = 13
  for (let at = 0; at < text.length; at++) print = mix(print, text.charCodeAt(at))
  return print
}

const double = new Float64Array(1)
const words = new Int32Array(double.buffer)

/** Of the bits; what is added makes 0 of -0, which is the same in JSON. */
function printOfNumber(value: number): number {
  double[0] = value + 0
  return mix(mix(17, words[0]!), words[1]!)
}

function mix(print: number, part: number): number {
  const mixed = Math.imul(print ^ part, 0x9e3779b1)
  return mixed ^ (mixed >>> 15)
}

/** Lets each bit of a print count for each bit of its slot, as the end of MurmurHash3 does. */
function spread(print: number): number {
  const half = Math.imul(print ^ (print >>> 16), 0x85ebca6b)
  const whole = Math.imul(half ^ (half >>> 13), 0xc2b2ae35)
  return whole ^ (whole >>> 16)
}
