// URLs are parsed by the host's parser, as bounded text both ways.
import { P } from './primordials.js'
import { ask, bound, part } from './scope.js'

const URL_UNITS_MAX = 65_536
const QUERY_UNITS_MAX = 2 ** 20
let replaceQuery, attach

class URLSearchParams {
  #pairs = P.setPrototypeOf([], null)
  #url
  constructor(init) {
    if (init === undefined || init === null) return
    if (typeof init === 'object' || typeof init === 'function') fill(this, init)
    else {
      const text = P.String(init)
      this.#read(text[0] === '?' ? P.slice(text, 1) : text)
    }
  }
  get size() {
    return this.#pairs.length
  }
  append(name, value) {
    this.#add(P.String(name), P.String(value))
    this.#changed()
  }
  delete(name, value) {
    const isAny = arguments.length < 2 || value === undefined
    this.#keep((pair) => pair.name !== P.String(name) || (!isAny && pair.value !== P.String(value)))
    this.#changed()
  }
  get(name) {
    const at = this.#find(P.String(name))
    return at < 0 ? null : this.#pairs[at].value
  }
  getAll(name) {
    const found = []
    for (let index = 0; index < this.#pairs.length; index++) {
      if (this.#pairs[index].name === P.String(name)) P.append(found, this.#pairs[index].value)
    }
    return found
  }
  has(name, value) {
    const isAny = arguments.length < 2 || value === undefined
    for (let index = 0; index < this.#pairs.length; index++) {
      const pair = this.#pairs[index]
      if (pair.name === P.String(name) && (isAny || pair.value === P.String(value))) return true
    }
    return false
  }
  set(name, value) {
    const at = this.#find(P.String(name))
    if (at < 0) this.#add(P.String(name), P.String(value))
    else {
      const kept = this.#pairs[at]
      kept.value = P.String(value)
      this.#keep((pair) => pair === kept || pair.name !== kept.name)
    }
    this.#changed()
  }
  sort() {
    // Insertion sort: stable, without calls to user code.
    for (let index = 1; index < this.#pairs.length; index++) {
      const pair = this.#pairs[index]
      let at = index
      for (; at > 0 && this.#pairs[at - 1].name > pair.name; at--)
        this.#pairs[at] = this.#pairs[at - 1]
      this.#pairs[at] = pair
    }
    this.#changed()
  }
  forEach(callback, self) {
    for (let index = 0; index < this.#pairs.length; index++) {
      P.apply(callback, self, [this.#pairs[index].value, this.#pairs[index].name, this])
    }
  }
  *entries() {
    for (let index = 0; index < this.#pairs.length; index++) {
      yield [this.#pairs[index].name, this.#pairs[index].value]
    }
  }
  *keys() {
    for (let index = 0; index < this.#pairs.length; index++) yield this.#pairs[index].name
  }
  *values() {
    for (let index = 0; index < this.#pairs.length; index++) yield this.#pairs[index].value
  }
  toString() {
    const flat = P.setPrototypeOf([], null)
    for (let index = 0; index < this.#pairs.length; index++) {
      flat[2 * index] = this.#pairs[index].name
      flat[2 * index + 1] = this.#pairs[index].value
    }
    const text = listText(flat)
    bounded(text, QUERY_UNITS_MAX)
    return ask('query-text', text)
  }
  #add(name, value) {
    this.#pairs[this.#pairs.length] = { __proto__: null, name, value }
  }
  #find(name) {
    for (let index = 0; index < this.#pairs.length; index++) {
      if (this.#pairs[index].name === name) return index
    }
    return -1
  }
  #keep(isKept) {
    const pairs = P.setPrototypeOf([], null)
    for (let index = 0; index < this.#pairs.length; index++) {
      if (isKept(this.#pairs[index])) pairs[pairs.length] = this.#pairs[index]
    }
    this.#pairs = pairs
  }
  #read(text) {
    bounded(text, QUERY_UNITS_MAX)
    const flat = P.parse(ask('query', text))
    for (let index = 0; index < flat.length; index += 2) this.#add(flat[index], flat[index + 1])
  }
  #changed() {
    if (this.#url !== undefined) replaceQuery(this.#url, this.toString())
  }
  static {
    attach = (params, url, search) => {
      params.#url = url
      params.#pairs = P.setPrototypeOf([], null)
      params.#read(P.slice(search, 1))
      return params
    }
  }
}

/** Accepts another URLSearchParams, an iterable of pairs, or a record of strings. */
function fill(params, init) {
  if (typeof init[P.symbolIterator] !== 'function') {
    const names = P.keys(init)
    for (let index = 0; index < names.length; index++)
      params.append(names[index], init[names[index]])
    return
  }
  for (const pair of init) {
    const [name, value, ...rest] = pair
    if (value === undefined || rest.length > 0) {
      throw new P.TypeError('Cannot read the query: each pair needs a name and a value')
    }
    params.append(name, value)
  }
}

/** A JSON array of strings, without a `toJSON` lookup. */
function listText(flat) {
  let text = '['
  for (let index = 0; index < flat.length; index++) {
    text += (index > 0 ? ',' : '') + P.stringify(flat[index])
  }
  return text + ']'
}

function bounded(text, unitsMax) {
  if (text.length > unitsMax) {
    throw new P.RangeError('Cannot read the URL: it is longer than ' + unitsMax + ' characters')
  }
  return text
}

function invalid(text) {
  const error = new P.TypeError('Invalid URL')
  P.put(error, 'code', 'ERR_INVALID_URL')
  P.put(error, 'input', P.slice(text, 0, 1000))
  return error
}

function parse(input, base) {
  const text = bounded(P.String(input), URL_UNITS_MAX)
  const from = base === undefined ? undefined : bounded(P.String(base), URL_UNITS_MAX)
  const found = ask('url', text, from)
  return found === '' ? undefined : P.parse(found)
}

const KEEP = {}
/** Parts that can be set, in the order in which the console shows them. */
const PARTS = [
  'protocol',
  'username',
  'password',
  'host',
  'hostname',
  'port',
  'pathname',
  'search',
  'hash',
]

class URL {
  #parts
  #params
  constructor(input, base) {
    if (arguments.length === 0) throw new P.TypeError('Cannot make a URL: its text is missing')
    this.#parts = input === KEEP ? base : parse(input, base)
    if (this.#parts === undefined) throw invalid(P.String(input))
  }
  static canParse(input, base) {
    return parse(input, base) !== undefined
  }
  static parse(input, base) {
    const parts = parse(input, base)
    return parts === undefined ? null : new URL(KEEP, parts)
  }
  get searchParams() {
    if (this.#params === undefined)
      this.#params = attach(new URLSearchParams(), this, this.#parts.search)
    return this.#params
  }
  get origin() {
    return this.#parts.origin
  }
  get href() {
    return this.#parts.href
  }
  set href(value) {
    const parts = parse(value)
    if (parts === undefined) throw invalid(P.String(value))
    this.#replace(parts)
  }
  toString() {
    return this.#parts.href
  }
  toJSON() {
    return this.#parts.href
  }
  #replace(parts) {
    this.#parts = parts
    if (this.#params !== undefined) attach(this.#params, this, parts.search)
  }
  static {
    replaceQuery = (url, query) => {
      url.#parts = P.parse(ask('url-set', url.#parts.href, 'search', query))
    }
    for (let index = 0; index < PARTS.length; index++) {
      const name = PARTS[index]
      P.defineProperty(URL.prototype, name, {
        __proto__: null,
        get() {
          return this.#parts[name]
        },
        set(value) {
          const text = bounded(P.String(value), URL_UNITS_MAX)
          this.#replace(P.parse(ask('url-set', this.#parts.href, name, text)))
        },
        enumerable: true,
        configurable: true,
      })
    }
  }
}

/** Prototype by which the console names the class, without its own way of showing. */
const shownAsURL = { URL: function () {} }.URL.prototype

P.hide(URL.prototype, P.symbolInspect, function () {
  const shown = { __proto__: shownAsURL }
  P.put(shown, 'href', this.href)
  P.put(shown, 'origin', this.origin)
  for (let index = 0; index < PARTS.length; index++) {
    const name = PARTS[index]
    if (name === 'hash') P.put(shown, 'searchParams', this.searchParams)
    P.put(shown, name, this[name])
  }
  return shown
})
P.hide(URLSearchParams.prototype, P.symbolInspect, function () {
  const { inspect } = part('inspect')
  let text = ''
  this.forEach((value, name) => {
    text += (text === '' ? ' ' : ', ') + inspect(name) + ' => ' + inspect(value)
  })
  return 'URLSearchParams {' + text + (text === '' ? '}' : ' }')
})
P.tag(URL.prototype, 'URL')
P.tag(URLSearchParams.prototype, 'URLSearchParams')
P.hide(URLSearchParams.prototype, P.symbolIterator, URLSearchParams.prototype.entries)

const queryText = P.uncurry(URLSearchParams.prototype.toString)
bound.readQueryBy(queryText)

export { URL, URLSearchParams }
