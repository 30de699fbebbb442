import { isIPv4, type Socket } from 'node:net'
import type { ConnectionEnds } from '../contract/warden.ts'

/** Whose connection it is, as pids of this machine; several where the socket was inherited, none where nobody can say. */
export interface Caller {
  pids: readonly number[]
}

/** Asks who holds the other end of a connection, by its address and both ports as the guest sees them. */
export type FindCallers = (ends: ConnectionEnds) => Promise<readonly number[]>

/** Nobody waits longer for a name than this; what is not known by then is not told. */
const waitMsMax = 150
/** Of one run: looking takes the time of somebody who looks after all walls. */
const atOnceMax = 8
const perSecondMax = 100

/** Asks who opened each connection of one run, and no more often than that does nobody else harm. */
export class Callers {
  readonly #find: FindCallers | undefined
  #asking = 0
  #second = 0
  #asked = 0

  constructor(find: FindCallers | undefined) {
    this.#find = find
  }

  /** Resolves with what is known in time; never rejects. */
  async of({ remoteAddress: from = '', remotePort: local, localPort: remote }: Socket) {
    if (!this.#find || !isIPv4(from) || local === undefined || remote === undefined) return []
    if (!this.#mayAsk()) return []
    this.#asking++
    const late = Promise.withResolvers<readonly number[]>()
    const timer = setTimeout(late.resolve, waitMsMax, [])
    const found = this.#find({ from, local, remote }).catch(() => [])
    void found.then(() => this.#asking--)
    try {
      return await Promise.race([found, late.promise])
    } finally {
      clearTimeout(timer)
    }
  }

  #mayAsk(): boolean {
    const second = Math.floor(performance.now() / 1000)
    if (second !== this.#second) [this.#second, this.#asked] = [second, 0]
    return this.#asking < atOnceMax && ++this.#asked <= perSecondMax
  }
}
