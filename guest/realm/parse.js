// Works around a bug of V8's JSON.parse (V8 14.6 and before; nodejs/node#63785): before unescaping a key, it
// matches the raw characters against keys of earlier texts. So `{"h":[],"\\":0}` turns every later
// `{"h":1,"\"":2}` into `{"h":1,"\\":2}`, for all who share the process. Unescaped keys are safe, so text with
// escaped ones is parsed again with placeholders for them.
//
// `escapedMax`: more escaped keys are refused; each costs microseconds.
import { P } from './primordials.js'

const QUOTE = 0x22
const COLON = 0x3a
const BACKSLASH = 0x5c
const MARK = '~'
/** Quotes, backslashes, and control characters. */
const NEEDS_ESCAPE = /["\\]|[^ -\uffff]/

/** @param {string} text @param {number} escapedMax */
function parse(text, escapedMax = Infinity) {
  const value = P.parse(text)
  if (P.indexOf(text, '\\') < 0) return value
  const keys = new P.Map()
  const named = withNames(text, keys, escapedMax)
  return named === undefined ? value : withKeys(P.parse(named), keys)
}

/**
 * JSON text without escapes in keys; undefined if it had none. A key that needs escapes becomes `~0`, `~1` …,
 * equal for equal keys; a key that begins with `~` is replaced as well.
 */
function withNames(text, keys, escapedMax) {
  const names = new P.Map()
  let named = ''
  let done = 0
  let isEscaped = false
  let escaped = 0
  for (let start = P.indexOf(text, '"'); start >= 0; start = P.indexOf(text, '"', start)) {
    const end = endOf(text, start)
    if (isKey(text, end)) {
      const written = P.slice(text, start + 1, end - 1)
      const hasEscape = P.indexOf(written, '\\') >= 0
      if (hasEscape || written[0] === MARK) {
        if (++escaped > escapedMax)
          throw new P.SyntaxError(`more than ${escapedMax} keys have escapes`)
        named +=
          P.slice(text, done, start) + `"${nameOf(hasEscape ? P.parse(`"${written}"`) : written)}"`
        done = end
      }
      isEscaped ||= hasEscape
    }
    start = end
  }
  return isEscaped ? named + P.slice(text, done) : undefined

  function nameOf(key) {
    if (P.regExpExec(NEEDS_ESCAPE, key) === null) return key[0] === MARK ? MARK + key : key
    if (!P.mapHas(names, key)) {
      const name = MARK + P.mapSize(names)
      P.mapSet(names, key, name)
      P.mapSet(keys, name, key)
    }
    return P.mapGet(names, key)
  }
}

/** Position after a string's closing quote. */
function endOf(text, start) {
  let at = start + 1
  for (let unit = P.charCodeAt(text, at); unit !== QUOTE; unit = P.charCodeAt(text, at)) {
    at += unit === BACKSLASH ? 2 : 1
  }
  return at + 1
}

function isKey(text, end) {
  let at = end
  while (P.charCodeAt(text, at) <= 0x20) at += 1
  return P.charCodeAt(text, at) === COLON
}

/** Restores the original keys; iterative, since depth is unbounded. */
function withKeys(value, keys) {
  const root = { __proto__: null, value }
  let todo = { __proto__: null, holder: root, next: undefined }
  while (todo !== undefined) {
    const { holder } = todo
    const inner = P.isArray(holder) ? undefined : P.keys(holder)
    const { length } = inner ?? holder
    todo = todo.next
    for (let index = 0; index < length; index++) {
      const key = inner === undefined ? index : inner[index]
      const held = holder[key]
      if (typeof held !== 'object' || held === null) continue
      const item = P.isArray(held) ? held : rekeyed(held, keys)
      // An existing own key, so no prototype setter is called.
      if (item !== held) holder[key] = item
      todo = { __proto__: null, holder: item, next: todo }
    }
  }
  return root.value
}

function rekeyed(record, keys) {
  const names = P.keys(record)
  if (!hasMark(names)) return record
  // Without a prototype there are no setters, and `__proto__` is an ordinary key.
  const copy = { __proto__: null }
  for (let index = 0; index < names.length; index++) {
    const name = names[index]
    const isName = name[0] === MARK
    copy[isName ? (P.mapGet(keys, name) ?? P.slice(name, 1)) : name] = record[name]
  }
  return P.setPrototypeOf(copy, P.ObjectPrototype)
}

function hasMark(names) {
  for (let index = 0; index < names.length; index++) if (names[index][0] === MARK) return true
  return false
}

export { parse }
