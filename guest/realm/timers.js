// Timers, ordered by due time; the host only knows when to call back. One timer runs per visit, so that
// microtasks run between two of them as elsewhere.
import { P } from './primordials.js'
import { ask, bound } from './scope.js'

const TIMERS_MAX = 10_000
const DELAY_MS_MAX = 2 ** 31 - 1

const live = new P.Map()
// A binary heap of [due, order, id], on an array that inherits no index setters from user code.
const heap = P.setPrototypeOf([], null)
let size = 0
let lastId = 0
let order = 0
/** Count of live timers that do not hold the job open (unref). */
let quiet = 0

function setTimeout(callback, delay, ...rest) {
  return start('setTimeout', callback, delay, rest, false)
}

function setInterval(callback, delay, ...rest) {
  return start('setInterval', callback, delay, rest, true)
}

function clearTimeout(id) {
  forget(P.Number(id))
}

function clearInterval(id) {
  forget(P.Number(id))
}

function queueMicrotask(callback) {
  if (typeof callback !== 'function') {
    throw new P.TypeError('Cannot queue a microtask: the callback is not a function')
  }
  const promise = new P.Promise((resolve) => resolve())
  void P.defineProperty(promise, 'constructor', { __proto__: null, value: undefined })
  P.promiseThen(promise, () => guarded(callback, []))
}

function guarded(callback, args) {
  try {
    P.apply(callback, undefined, args)
  } catch (thrown) {
    bound.fail(thrown)
  }
}

/** Count of live timers that hold the job open. */
bound.timers = () => P.mapSize(live) - quiet

/** Clears the timers that a cell set. */
bound.clearTimers = (owner) => {
  P.mapForEach(live, (timer, id) => timer.owner === owner && forget(id))
  ask('arm', wait())
}

/** Creates a timer that does not hold the job open (unref). */
function quietly(callback, delay) {
  P.mapGet(live, setTimeout(callback, delay)).isQuiet = true
  quiet++
}

function forget(id) {
  if (P.mapGet(live, id)?.isQuiet === true) quiet--
  P.mapDelete(live, id)
}

function start(verb, callback, delay, rest, repeats) {
  if (typeof callback !== 'function') {
    throw new P.TypeError('Cannot call ' + verb + ': the callback is not a function')
  }
  if (P.mapSize(live) >= TIMERS_MAX) {
    throw new P.RangeError(
      'Cannot call ' + verb + ': ' + TIMERS_MAX + ' timers are waiting already',
    )
  }
  delay = P.Number(delay)
  delay = delay >= 1 && delay <= DELAY_MS_MAX ? P.trunc(delay) : 1
  const id = ++lastId
  const { owner } = bound
  P.mapSet(live, id, { __proto__: null, callback, rest, delay, repeats, owner, isQuiet: false })
  push(bound.now() + delay, id)
  if (heap[0].id === id) ask('arm', delay)
  return id
}

/** Reports the owner of the next due timer to the host (sessions). */
let chosen
bound.next = () => {
  chosen = due()
  if (chosen !== undefined) ask('owner', chosen.owner)
}

/** Runs one due timer, if any. */
bound.tick = () => {
  const timer = chosen === undefined ? due() : chosen
  chosen = undefined
  if (timer === undefined) return
  bound.owner = timer.owner
  guarded(timer.callback, timer.rest)
}

/** Takes one due timer, if any, and arms the next, even if this one throws. */
function due() {
  const now = bound.now()
  let timer
  while (timer === undefined && isDue(now)) timer = take(now)
  ask('arm', wait())
  return timer
}

const isDue = (now) => size > 0 && heap[0].due <= now

function take(now) {
  const { id } = pop()
  const timer = P.mapGet(live, id)
  if (timer === undefined) return undefined
  if (timer.repeats) push(now + timer.delay, id)
  else forget(id)
  return timer
}

function wait() {
  while (size > 0 && !P.mapHas(live, heap[0].id)) pop()
  return size === 0 ? -1 : P.max(0, heap[0].due - bound.now())
}

const isBefore = (a, b) => a.due < b.due || (a.due === b.due && a.order < b.order)

function push(due, id) {
  if (size >= 4 * TIMERS_MAX) sweep()
  rise({ __proto__: null, due, id, order: ++order })
}

function rise(entry) {
  let at = size++
  while (at > 0) {
    const parent = (at - 1) >> 1
    if (!isBefore(entry, heap[parent])) break
    heap[at] = heap[parent]
    at = parent
  }
  heap[at] = entry
}

function pop() {
  const top = heap[0]
  const entry = heap[--size]
  heap[size] = undefined
  if (size > 0) sink(entry)
  return top
}

function sink(entry) {
  let at = 0
  for (;;) {
    let child = 2 * at + 1
    if (child >= size) break
    if (child + 1 < size && isBefore(heap[child + 1], heap[child])) child++
    if (!isBefore(heap[child], entry)) break
    heap[at] = heap[child]
    at = child
  }
  heap[at] = entry
}

/** Cleared timers leave entries behind; the sweep bounds the heap under repeated set and clear. */
function sweep() {
  const count = size
  size = 0
  // `rise` writes at or below the position just read, so the rebuild is in place.
  for (let index = 0; index < count; index++) {
    const entry = heap[index]
    if (P.mapHas(live, entry.id)) rise(entry)
  }
}

export { setTimeout, setInterval, clearTimeout, clearInterval, queueMicrotask, quietly }
