// fetch for a job with a network: the host makes the request, and checks it and each redirect. Responses arrive
// complete, so a body is read at once and is no stream.
import { P } from './primordials.js'
import { ask, bound, part } from './scope.js'

const BODY_BYTES_MAX = 3 * 2 ** 20
const list = () => P.setPrototypeOf([], null)
let pairsOf, bytesOf

class Headers {
  #pairs = list()
  constructor(init) {
    if (init === undefined || init === null) return
    const pairs = init instanceof Headers ? init.#pairs : listed(init)
    for (let index = 0; index < pairs.length; index++) this.append(pairs[index][0], pairs[index][1])
  }
  append(name, value) {
    const pair = list()
    pair[0] = headerName(name)
    pair[1] = P.trim(P.String(value))
    this.#pairs[this.#pairs.length] = pair
  }
  delete(name) {
    const wanted = headerName(name)
    const kept = list()
    for (let index = 0; index < this.#pairs.length; index++)
      if (this.#pairs[index][0] !== wanted) kept[kept.length] = this.#pairs[index]
    this.#pairs = kept
  }
  get(name) {
    const wanted = headerName(name)
    let value = null
    for (let index = 0; index < this.#pairs.length; index++) {
      if (this.#pairs[index][0] !== wanted) continue
      value = value === null ? this.#pairs[index][1] : value + ', ' + this.#pairs[index][1]
    }
    return value
  }
  getSetCookie() {
    const found = []
    for (let index = 0; index < this.#pairs.length; index++)
      if (this.#pairs[index][0] === 'set-cookie') P.append(found, this.#pairs[index][1])
    return found
  }
  has(name) {
    return this.get(name) !== null
  }
  set(name, value) {
    this.delete(name)
    this.append(name, value)
  }
  forEach(callback, self) {
    const names = this.#names()
    for (let index = 0; index < names.length; index++)
      P.apply(callback, self, [this.get(names[index]), names[index], this])
  }
  *entries() {
    const names = this.#names()
    for (let index = 0; index < names.length; index++) yield [names[index], this.get(names[index])]
  }
  *keys() {
    const names = this.#names()
    for (let index = 0; index < names.length; index++) yield names[index]
  }
  *values() {
    const names = this.#names()
    for (let index = 0; index < names.length; index++) yield this.get(names[index])
  }
  /** Names in order, without duplicates. */
  #names() {
    const names = list()
    for (let index = 0; index < this.#pairs.length; index++) {
      const name = this.#pairs[index][0]
      let at = 0
      while (at < names.length && names[at] < name) at++
      if (names[at] === name) continue
      for (let last = names.length; last > at; last--) names[last] = names[last - 1]
      names[at] = name
    }
    return names
  }
  static {
    pairsOf = (headers) => headers.#pairs
  }
}

class Response {
  #bytes
  #facts
  #headers
  #isUsed = false
  constructor(body, init) {
    const status = init?.status === undefined ? 200 : P.Number(init.status)
    if (!(status >= 200 && status <= 599))
      throw new P.RangeError('Cannot make a Response: its status is not from 200 to 599')
    const sent = bodyOf(body)
    this.#bytes = sent.bytes
    this.#headers = new Headers(init?.headers)
    if (sent.type !== undefined && !this.#headers.has('content-type'))
      this.#headers.set('content-type', sent.type)
    const statusText = init?.statusText === undefined ? '' : P.String(init.statusText)
    this.#facts = {
      __proto__: null,
      status,
      statusText,
      url: '',
      redirected: false,
      type: 'default',
    }
  }
  bytes() {
    return this.#read((bytes) => bytes)
  }
  arrayBuffer() {
    return this.#read((bytes) => P.typedBuffer(bytes))
  }
  text() {
    return this.#read(textOf)
  }
  json() {
    return this.#read((bytes) => part('parse').parse(textOf(bytes)))
  }
  clone() {
    if (this.#isUsed) throw new P.TypeError('Cannot clone the Response: its body has been read')
    const copy = new Response(null)
    copy.#bytes = P.apply(copyOf, undefined, [this.#bytes])
    copy.#facts = this.#facts
    copy.#headers = new Headers(this.#headers)
    return copy
  }
  /** A body is consumed by its first read. */
  #read(as) {
    return new P.Promise((resolve) => {
      if (this.#isUsed) throw new P.TypeError('Cannot read the body: it has been read')
      this.#isUsed = true
      const bytes = this.#bytes
      this.#bytes = new P.Uint8Array(0)
      resolve(as(bytes))
    })
  }
  static {
    P.getters(Response.prototype, {
      __proto__: null,
      status: (self) => self.#facts.status,
      ok: (self) => self.#facts.status >= 200 && self.#facts.status <= 299,
      statusText: (self) => self.#facts.statusText,
      headers: (self) => self.#headers,
      url: (self) => self.#facts.url,
      redirected: (self) => self.#facts.redirected,
      type: (self) => self.#facts.type,
      bodyUsed: (self) => self.#isUsed,
    })
    bytesOf = (answer) => {
      const response = new Response(null)
      response.#bytes = P.fromBase64(answer.body)
      response.#facts = { __proto__: null, ...answer, type: 'basic' }
      const { headers } = answer
      for (let index = 0; index < headers.length; index++)
        response.#headers.append(headers[index][0], headers[index][1])
      return response
    }
  }
}

function fetch(input, init) {
  return new P.Promise((resolve, reject) => {
    const signal = init?.signal
    if (signal?.aborted) throw signal.reason
    const text = requestText(input, init)
    let id
    const giveUp = () => {
      bound.forget(id)
      reject(signal.reason)
    }
    signal?.addEventListener('abort', giveUp, { once: true })
    P.promiseThen(
      bound.call('mayfly.fetch', text, (given) => (id = given)),
      (answer) => {
        if (answer.error === undefined) resolve(bytesOf(answer))
        else reject(refusal(answer.error))
      },
      reject,
    )
  })
}

/** Serialises a request; its URL is parsed here as the host will parse it. */
function requestText(input, init) {
  const parts = ask('url', P.String(input))
  if (parts === '') throw new P.TypeError('Cannot fetch it: the address is not a URL')
  const method = init?.method === undefined ? 'GET' : known(P.String(init.method))
  const sent = bodyOf(init?.body)
  const isBodiless = method === 'GET' || method === 'HEAD'
  if (isBodiless && sent.type !== undefined)
    throw new P.TypeError('Cannot fetch it: ' + method + ' has no body')
  if (P.typedByteLength(sent.bytes) > BODY_BYTES_MAX)
    throw new P.RangeError('Cannot fetch it: the body is larger than 3 MiB')
  const headers = new Headers(init?.headers)
  if (typeof sent.type === 'string' && sent.type !== '' && !headers.has('content-type'))
    headers.set('content-type', sent.type)
  return {
    __proto__: null,
    url: P.parse(parts).href,
    method,
    headers: pairsOf(headers),
    body: sent.type === undefined ? null : P.toBase64(sent.bytes),
    redirect: init?.redirect === undefined ? 'follow' : P.String(init.redirect),
  }
}

/** Upper-cases standard methods; others keep their case. */
function known(method) {
  const upper = P.toUpperCase(method)
  const all = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS']
  for (let index = 0; index < all.length; index++) if (all[index] === upper) return upper
  return method
}

/** Bytes of a body, with its default content type; undefined without a body. */
function bodyOf(body) {
  if (body === undefined || body === null)
    return { __proto__: null, bytes: new P.Uint8Array(0), type: undefined }
  const own = viewed(body)
  if (own !== undefined)
    return { __proto__: null, bytes: P.apply(copyOf, undefined, [own]), type: '' }
  const { TextEncoder } = part('text')
  const { URLSearchParams } = part('url')
  const type = body instanceof URLSearchParams ? 'application/x-www-form-urlencoded' : 'text/plain'
  return {
    __proto__: null,
    bytes: new TextEncoder().encode(P.String(body)),
    type: type + ';charset=UTF-8',
  }
}

/** Bytes of a buffer or a view; undefined for other values. */
function viewed(body) {
  if (typeof body !== 'object') return undefined
  if (P.isView(body)) {
    const isTyped = P.typedTag(body) !== undefined
    return isTyped
      ? new P.Uint8Array(P.typedBuffer(body), P.typedOffset(body), P.typedByteLength(body))
      : new P.Uint8Array(P.viewBuffer(body), P.viewOffset(body), P.viewByteLength(body))
  }
  try {
    P.bufferByteLength(body)
  } catch {
    return undefined
  }
  return new P.Uint8Array(body)
}

function copyOf(bytes) {
  const copy = new P.Uint8Array(P.typedLength(bytes))
  P.typedSet(copy, bytes)
  return copy
}

function textOf(bytes) {
  const { TextDecoder } = part('text')
  return new TextDecoder().decode(bytes)
}

function listed(init) {
  const pairs = list()
  if (typeof init !== 'object' && typeof init !== 'function')
    throw new P.TypeError('Cannot read the headers: they are no list and no record')
  if (typeof init[P.symbolIterator] === 'function') {
    for (const [name, value] of init) pairs[pairs.length] = [name, value]
    return pairs
  }
  const names = P.keys(init)
  for (let index = 0; index < names.length; index++)
    pairs[index] = [names[index], init[names[index]]]
  return pairs
}

function headerName(name) {
  const text = P.toLowerCase(P.String(name))
  if (text === '') throw new P.TypeError('Cannot use a header without a name')
  return text
}

function refusal({ code, message }) {
  const error = new P.TypeError(message)
  P.put(error, 'code', code)
  return error
}

P.hide(Headers.prototype, P.symbolIterator, Headers.prototype.entries)

export { fetch, Headers, Response }
