// Reads JSON where V8 misreads it: before it undoes the escapes of a key, `JSON.parse` takes it for the key that came
// there in an earlier text if it begins with that one's characters. So `{"h":[],"\\":0}` turns every later
// `{"h":1,"\"":2}` into `{"h":1,"\\":2}`, for all who share the process (V8 14.6 and before; nodejs/node#63785). Keys
// without escapes are read right, so a text with others is read again with names in their place.
//
// `escapedMax`: more keys with an escape are refused, each of them takes microseconds.
export default function (P, escapedMax = Infinity) {
  const QUOTE = 0x22
  const COLON = 0x3a
  const BACKSLASH = 0x5c
  const MARK = '~'
  /** Quotes, backslashes, and what stands before a space. */
  const NEEDS_ESCAPE = /["\\]|[^ -\uffff]/

  return function (text) {
    const value = P.parse(text)
    if (P.indexOf(text, '\\') < 0) return value
    const keys = new P.Map()
    const named = withNames(text, keys)
    return named === undefined ? value : withKeys(P.parse(named), keys)
  }

  /**
   * The text, which is JSON, with no escape in any key; undefined if it had none. A key that cannot be written without
   * becomes `~0`, `~1` …, the same for the same key; one that begins with `~` itself gets another.
   */
  function withNames(text, keys) {
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
            P.slice(text, done, start) +
            `"${nameOf(hasEscape ? P.parse(`"${written}"`) : written)}"`
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

  /** Past the quote that ends a string. */
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

  /** What was read, with every key as it was; without recursion, since nothing bounds how deep it is. */
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
        // It has this key already, so no setter of a prototype is asked.
        if (item !== held) holder[key] = item
        todo = { __proto__: null, holder: item, next: todo }
      }
    }
    return root.value
  }

  function rekeyed(record, keys) {
    const names = P.keys(record)
    if (!hasMark(names)) return record
    // Without a prototype there are no setters, and `__proto__` is a key like others.
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
}
