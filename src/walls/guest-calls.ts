import { MayflyError, messageOf } from '../contract/error.ts'
import type { Event } from '../contract/event.ts'
import { isJsonDeeper } from '../lib/json-depth.ts'
import { LoopLimiter } from '../lib/loop-limiter.ts'
import { taggedDepthMax } from '../lib/tagged.ts'
import { fetchCapability, forgottenCall } from './egress-path.ts'
import { filesCapability } from './folder-calls.ts'
import type { RealmEgress } from './guest-egress.ts'
import { eventOfLife, type GuestLife } from './guest-life.ts'
import { callArgsBytesMax, callSchema, headed, kind } from './wire.ts'

/** Calls of one job or exec. */
const CALLS_MAX = 100_000
/** Bytes of unread answers, above which no call begins. */
const BACKLOG_BYTES_MAX = 8 * 2 ** 20
/** Requests that its egress path serves at a time. */
const FETCHES_MAX = 64
/** Calls that wait, and characters of their arguments. */
const WAITING_MAX = 1_000
const WAITING_CHARACTERS_MAX = 32 * 2 ** 20
/** Time between two looks at answers that the guest has yet to read. */
const LOOK_MS = 10

interface GuestCall {
  readonly name: string
  readonly argsText: string
  readonly isFetch: boolean
  /** Aborted once the guest gives a fetch up; other calls have none. */
  readonly stop: AbortSignal | undefined
}
interface WaitingCall extends GuestCall {
  readonly begin: () => void
  /** True once it has its place. */
  isNext: boolean
}

/**
 * Capability calls of a guest in a realm without sockets: granted ones are answered, all others refused.
 *
 * Problem: a guest may call without reading its answers, which this process then holds; an honest one fetches many
 * addresses at once, and reads when its own code lets it.
 *
 * Mechanism: a call begins once few bytes of answers are unread, and a fetch once there is a place for it. Others wait,
 * in order, bounded in number and characters; beyond that a call fails, and the job goes on. A fetch that its guest gives
 * up ends, or is never sent.
 *
 * Not handled: answers to calls that have begun, which the budget of the network and their own limits bound.
 */
export class GuestCalls {
  readonly #life: GuestLife
  readonly #egress: RealmEgress
  #calls = 0
  /** Fetches that were given up in vain: they had ended, or were given up before. */
  #inVain = 0
  #lastId = 0
  #fetches = 0
  readonly #waiting = new Set<WaitingCall>()
  /** Fetches that wait or are under way, by their number. */
  readonly #stops = new Map<number, AbortController>()
  /** The reader of frames charges a call that begins at once. */
  readonly #limiter = new LoopLimiter()
  #look: NodeJS.Timeout | undefined

  constructor(life: GuestLife, egress: RealmEgress) {
    this.#life = life
    this.#egress = egress
  }

  /** Counts anew, for the next exec of a session. */
  renew(): void {
    this.#calls = 0
    this.#inVain = 0
  }

  /** Answers a call. Its payload is read before the first await. */
  async answer(payload: Buffer): Promise<void> {
    const life = this.#life
    const read = headed(callSchema, payload)
    if (!read || read.rest.length > callArgsBytesMax) return life.garbled('unreadable call')
    if (life.isEnded) return
    const { id, name } = read.head
    // With a number of its own it is a call by the code, and refused as one.
    if (name === forgottenCall && id <= this.#lastId) return this.#forget(id)
    if (++this.#calls > CALLS_MAX) return life.garbled('too many calls')
    this.#lastId = Math.max(this.#lastId, id)
    const isFetch = name === fetchCapability
    const stop = isFetch ? new AbortController() : undefined
    if (stop) this.#stops.set(id, stop)
    const call = { name, argsText: read.rest.toString(), isFetch, stop: stop?.signal }
    try {
      if (isJsonDeeper(call.argsText, taggedDepthMax)) throw tooDeep(name)
      this.#reply({ id, text: await this.#inTurn(call) })
    } catch (error) {
      this.#reply({ id, error: messageOf(error) })
    } finally {
      if (stop && this.#stops.get(id) === stop) this.#stops.delete(id)
    }
  }

  /** Ends a fetch. An honest guest may be too late for it, once for each. */
  #forget(id: number): void {
    const stop = this.#stops.get(id)
    if (stop && !stop.signal.aborted) return stop.abort()
    if (++this.#inVain > CALLS_MAX) this.#life.garbled('too many calls')
  }

  /** Begins the call, now or once there is a place. Rejects with MayflyError OVERLOADED if too many wait. */
  #inTurn(call: GuestCall): Promise<string> {
    const { name, argsText, isFetch } = call
    const waiting = [...this.#waiting]
    if (this.#hasPlace(isFetch) && !waiting.some((one) => one.isFetch === isFetch)) {
      if (isFetch) this.#fetches++
      return this.#begin(call)
    }
    const characters = waiting.reduce((sum, one) => sum + one.argsText.length, argsText.length)
    if (waiting.length >= WAITING_MAX || characters > WAITING_CHARACTERS_MAX)
      return Promise.reject(tooManyWait(name))
    return new Promise((resolve, reject) => {
      const begin = () => {
        this.#waiting.delete(waiter)
        resolve(this.#begin(call))
      }
      const waiter: WaitingCall = { ...call, begin, isNext: false }
      this.#waiting.add(waiter)
      call.stop?.addEventListener('abort', () => {
        // A call that has its place begins, and ends there.
        if (!waiter.isNext && this.#waiting.delete(waiter)) reject(givenUp())
      })
      this.#advance()
    })
  }

  #begin(call: GuestCall): Promise<string> {
    const { isFetch } = call
    return this.#textOf(call).finally(() => {
      if (isFetch) this.#fetches--
      // After the answer is sent, which counts as unread.
      if (this.#waiting.size > 0) setImmediate(() => this.#advance())
    })
  }

  #hasPlace(isFetch: boolean): boolean {
    const { backlogBytes } = this.#life.parts.wall
    return backlogBytes <= BACKLOG_BYTES_MAX && !(isFetch && this.#fetches >= FETCHES_MAX)
  }

  /** Begins the waiting calls that have a place, in order, within the guest's share of the event loop. */
  #advance(): void {
    const life = this.#life
    clearTimeout(this.#look)
    if (life.isEnded) return this.#waiting.clear()
    for (const call of this.#waiting) {
      if (call.isNext || !this.#hasPlace(call.isFetch)) continue
      call.isNext = true
      if (call.isFetch) this.#fetches++
      void this.#limiter.run(call.begin, () => !life.isEnded)
    }
    if (this.#waiting.size > 0 && life.parts.wall.backlogBytes > BACKLOG_BYTES_MAX)
      this.#look = setTimeout(() => this.#advance(), LOOK_MS)
  }

  /** Calls for network and folders name no granted capability: egress path and folders check the controls in force. */
  async #textOf({ name, argsText, stop }: GuestCall): Promise<string> {
    const { egressPath, io } = this.#life
    const { folders } = this.#egress
    if (name === fetchCapability && egressPath) return await egressPath.fetch(argsText, stop)
    if (name === filesCapability && folders) return await folders.answer(argsText)
    this.#assertGranted(name)
    if (!io?.call)
      throw new MayflyError('FORBIDDEN', `Cannot call "${name}": no handler is attached`)
    const text = await io.call(name, argsText)
    // Race: the capability may have been revoked during the call; its answer must not reach the guest.
    this.#assertGranted(name)
    return text
  }

  /** Sends an answer, unless the job has ended: the worker may already have its next guest. */
  #reply(answer: { readonly id: number } & Readonly<Record<string, unknown>>): void {
    const { isEnded, parts } = this.#life
    if (!isEnded) parts.wall.send(kind.reply, JSON.stringify(answer))
  }

  #assertGranted(name: string): void {
    const { capabilities } = this.#life.controls
    if (capabilities === 'any' || capabilities.includes(name)) return
    this.#report(name)
    throw new MayflyError('FORBIDDEN', `Cannot call "${name}": it is not granted`)
  }

  #report(capability: string): void {
    const { task, sink, parts } = this.#life
    const fields = { capability: capability.slice(0, 200) }
    const run = task?.run ?? null
    const about = { run, zone: task?.zone ?? 'main', trust: 'wall' } as const
    parts.emitter.emit('capability/denied', fields, about)
    sink?.(deniedCall(run, 'main', fields))
  }
}

/** Arguments are parsed in the server's only thread, which a deep text would hold for seconds. */
function tooDeep(name: string): MayflyError {
  const what = `its arguments are nested deeper than ${taggedDepthMax} levels`
  return new MayflyError('INVALID', `Cannot call "${name.slice(0, 200)}": ${what}`)
}

/** Error that no code reads: the guest has dropped the call. */
function givenUp(): Error {
  return new Error('Cannot fetch it: its caller gave it up')
}

function tooManyWait(name: string): MayflyError {
  const message = `Cannot call "${name.slice(0, 200)}": too many calls wait for their turn`
  return new MayflyError('OVERLOADED', message, { hint: 'Await some of them first' })
}

/** Event of a call that was not granted, for the listener of one sandbox. */
export function deniedCall(run: string | null, zone: string, fields: Event['fields']): Event {
  const about = { run, zone, actor: 'guest', trust: 'wall', fields } as const
  return eventOfLife('capability/denied', about)
}
