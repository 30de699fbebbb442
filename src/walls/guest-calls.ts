import { MayflyError, messageOf } from '../contract/error.ts'
import type { Event } from '../contract/event.ts'
import { isJsonDeeper } from '../lib/json-depth.ts'
import { taggedDepthMax } from '../lib/tagged.ts'
import { fetchCapability } from './egress-path.ts'
import { filesCapability } from './folder-calls.ts'
import type { RealmEgress } from './guest-egress.ts'
import { eventOfLife, type GuestLife } from './guest-life.ts'
import { callArgsBytesMax, callSchema, headed, kind } from './wire.ts'

/** Bounds on calls of one job or exec, and on bytes of unread answers: an honest guest waits for its answers. */
const CALLS_MAX = 100_000
const BACKLOG_BYTES_MAX = 8 * 2 ** 20

/** Capability calls of a guest in a realm without sockets: granted ones are answered, all others refused. */
export class GuestCalls {
  readonly #life: GuestLife
  readonly #egress: RealmEgress
  #calls = 0

  constructor(life: GuestLife, egress: RealmEgress) {
    this.#life = life
    this.#egress = egress
  }

  /** Counts anew, for the next exec of a session. */
  renew(): void {
    this.#calls = 0
  }

  /** Answers a call. Its payload is read before the first await. */
  async answer(payload: Buffer): Promise<void> {
    const life = this.#life
    const read = headed(callSchema, payload)
    if (!read || read.rest.length > callArgsBytesMax) return life.garbled('unreadable call')
    if (life.isEnded) return
    if (++this.#calls > CALLS_MAX || life.parts.wall.backlogBytes > BACKLOG_BYTES_MAX)
      return life.garbled('too many calls')
    const { id, name } = read.head
    try {
      this.#reply({ id, text: await this.#textOf(name, read.rest.toString()) })
    } catch (error) {
      this.#reply({ id, error: messageOf(error) })
    }
  }

  /** Calls for network and folders name no granted capability: egress path and folders check the controls in force. */
  async #textOf(name: string, argsText: string): Promise<string> {
    const { egressPath, io } = this.#life
    const { folders } = this.#egress
    if (isJsonDeeper(argsText, taggedDepthMax)) throw tooDeep(name)
    if (name === fetchCapability && egressPath) return await egressPath.fetch(argsText)
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

/** Event of a call that was not granted, for the listener of one sandbox. */
export function deniedCall(run: string | null, zone: string, fields: Event['fields']): Event {
  const about = { run, zone, actor: 'guest', trust: 'wall', fields } as const
  return eventOfLife('capability/denied', about)
}
