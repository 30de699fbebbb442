// Events and abort signals as on the web, but without a tree: an event reaches only its target.
import { P } from './primordials.js'
import { ask, bound, part } from './scope.js'

const LISTENERS_MAX = 10_000
const { DOMException } = part('dom-exception')
const { quietly } = part('timers')
let begin, isStopped, finish, onAbort, abort
const list = () => P.setPrototypeOf([], null)

class Event {
  #type
  #options
  #target = null
  #current = null
  #prevented = false
  #stopped = false
  #time = ask('clock')
  constructor(type, options) {
    if (arguments.length === 0) throw new P.TypeError('Cannot make an Event: its type is missing')
    this.#type = P.String(type)
    this.#options = {
      __proto__: null,
      bubbles: !!options?.bubbles,
      cancelable: !!options?.cancelable,
      composed: !!options?.composed,
    }
  }
  composedPath() {
    return this.#current === null ? [] : [this.#current]
  }
  preventDefault() {
    if (this.#options.cancelable) this.#prevented = true
  }
  stopPropagation() {}
  stopImmediatePropagation() {
    this.#stopped = true
  }
  static {
    P.getters(Event.prototype, {
      __proto__: null,
      type: (self) => self.#type,
      target: (self) => self.#target,
      currentTarget: (self) => self.#current,
      srcElement: (self) => self.#target,
      bubbles: (self) => self.#options.bubbles,
      cancelable: (self) => self.#options.cancelable,
      composed: (self) => self.#options.composed,
      defaultPrevented: (self) => self.#prevented,
      returnValue: (self) => !self.#prevented,
      eventPhase: (self) => (self.#current === null ? 0 : 2),
      isTrusted: () => false,
      timeStamp: (self) => self.#time,
    })
    begin = (event, target) => {
      if (event.#current !== null) {
        throw new DOMException('The event is already being dispatched', 'InvalidStateError')
      }
      event.#target = event.#current = target
      event.#stopped = false
    }
    isStopped = (event) => event.#stopped
    finish = (event) => {
      event.#current = null
      return !event.#prevented
    }
  }
}

class EventTarget {
  #listeners = list()
  #count = 0
  addEventListener(type, listener, options) {
    if (listener === null || listener === undefined) return
    const capture = typeof options === 'boolean' ? options : !!options?.capture
    const signal = options?.signal
    if (signal?.aborted || this.#find(P.String(type), listener, capture) >= 0) return
    if (this.#count >= LISTENERS_MAX) {
      throw new P.RangeError('Cannot add a listener: ' + LISTENERS_MAX + ' are there already')
    }
    this.#listeners[this.#count++] = {
      __proto__: null,
      type: P.String(type),
      listener,
      capture,
      once: !!options?.once,
      isLive: true,
    }
    if (signal) onAbort(signal, () => this.removeEventListener(type, listener, capture))
  }
  removeEventListener(type, listener, options) {
    const capture = typeof options === 'boolean' ? options : !!options?.capture
    const at = this.#find(P.String(type), listener, capture)
    if (at >= 0) this.#remove(this.#listeners[at])
  }
  dispatchEvent(event) {
    begin(event, this)
    const { type } = event
    const before = list()
    const count = this.#count
    for (let index = 0; index < count; index++) before[index] = this.#listeners[index]
    for (let index = 0; index < count && !isStopped(event); index++) {
      const entry = before[index]
      if (entry.type !== type || !entry.isLive) continue
      if (entry.once) this.#remove(entry)
      notify(this, entry.listener, event)
    }
    return finish(event)
  }
  #find(type, listener, capture) {
    for (let index = 0; index < this.#count; index++) {
      const entry = this.#listeners[index]
      if (entry.type === type && entry.listener === listener && entry.capture === capture) {
        return index
      }
    }
    return -1
  }
  #remove(entry) {
    entry.isLive = false
    let kept = 0
    for (let index = 0; index < this.#count; index++) {
      if (this.#listeners[index] !== entry) this.#listeners[kept++] = this.#listeners[index]
    }
    this.#count = kept
    this.#listeners[kept] = undefined
  }
}

/** An exception in a listener ends the job, as it would end a program. */
function notify(target, listener, event) {
  try {
    if (typeof listener === 'function') P.apply(listener, target, [event])
    else listener.handleEvent(event)
  } catch (thrown) {
    bound.fail(thrown)
  }
}

const KEY = {}

class AbortSignal extends EventTarget {
  #aborted = false
  #reason
  #hooks = list()
  #hookCount = 0
  onabort = null
  constructor(key) {
    if (key !== KEY) throw new P.TypeError('Illegal constructor')
    super()
  }
  get aborted() {
    return this.#aborted
  }
  get reason() {
    return this.#reason
  }
  throwIfAborted() {
    if (this.#aborted) throw this.#reason
  }
  static abort(reason) {
    const signal = new AbortSignal(KEY)
    abort(signal, reason, arguments.length > 0 && reason !== undefined)
    return signal
  }
  static timeout(delay) {
    const signal = new AbortSignal(KEY)
    const reason = () =>
      new DOMException('The operation was aborted due to timeout', 'TimeoutError')
    quietly(() => abort(signal, reason(), true), delay)
    return signal
  }
  static any(signals) {
    const signal = new AbortSignal(KEY)
    for (const source of signals) {
      if (source.#aborted) abort(signal, source.#reason, true)
      else onAbort(source, () => abort(signal, source.#reason, true))
    }
    return signal
  }
  static {
    onAbort = (signal, hook) => {
      if (signal.#hookCount >= LISTENERS_MAX) {
        throw new P.RangeError('Cannot follow the signal: ' + LISTENERS_MAX + ' follow it already')
      }
      signal.#hooks[signal.#hookCount++] = hook
    }
    abort = (signal, reason, isGiven) => {
      if (signal.#aborted) return
      signal.#aborted = true
      signal.#reason = isGiven
        ? reason
        : new DOMException('This operation was aborted', 'AbortError')
      for (let index = 0; index < signal.#hookCount; index++) signal.#hooks[index]()
      signal.#hookCount = 0
      const event = new Event('abort')
      if (typeof signal.onabort === 'function') notify(signal, signal.onabort, event)
      dispatch(signal, event)
    }
  }
}

const dispatch = P.uncurry(EventTarget.prototype.dispatchEvent)

class AbortController {
  #signal = new AbortSignal(KEY)
  get signal() {
    return this.#signal
  }
  abort(reason) {
    abort(this.#signal, reason, arguments.length > 0 && reason !== undefined)
  }
}

const classes = { __proto__: null, Event, EventTarget, AbortSignal, AbortController }
for (const name in classes) P.tag(classes[name].prototype, name)

export { Event, EventTarget, AbortSignal, AbortController }
