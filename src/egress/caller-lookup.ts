import { isIPv4, type Socket } from 'node:net'
import type { ConnectionEnds } from '../contract/warden.ts'

/**
 * Processes holding the guest's end of a connection, as host pids: several if the socket was inherited, none if
 * unknown.
 */
export interface ConnectionCaller {
  pids: readonly number[]
}

/** Looks up the processes at the guest's end by its address and both ports. */
export type FindCallers = (ends: ConnectionEnds) => Promise<readonly number[]>

/** Deadline of one lookup; the caller counts as unknown afterwards. */
const waitMsMax = 150
const sharedMsMax = 5_000
/** Limits per run: each lookup costs time of the warden, which serves all walls. */
const atOnceMax = 8
const perSecondMax = 100

/** Rate-limited lookup of the processes behind the connections of one run. */
export class CallerLookup {
  readonly #find: FindCallers | undefined
  #inProgress = 0
  #second = 0
  #startedThisSecond = 0

  constructor(find: FindCallers | undefined) {
    this.#find = find
  }

  /** Resolves with the pids known before the deadline; never rejects. */
  async of({ remoteAddress: from = '', remotePort: local, localPort: remote }: Socket) {
    if (!this.#find || !isIPv4(from) || local === undefined || remote === undefined) return []
    if (!this.#mayStart()) return []
    this.#inProgress++
    const late = Promise.withResolvers<readonly number[]>()
    const timer = setTimeout(late.resolve, waitMsMax, [])
    const found = this.#find({ from, local, remote }).catch(() => [])
    void found.then(() => this.#inProgress--)
    try {
      return await Promise.race([found, late.promise])
    } finally {
      clearTimeout(timer)
    }
  }

  /** The same for a shared listener, where access depends on the result: no rate limit, and a longer deadline. */
  async ofShared({ remoteAddress: from = '', remotePort: local, localPort: remote }: Socket) {
    if (!this.#find || !isIPv4(from) || local === undefined || remote === undefined) return []
    const late = Promise.withResolvers<readonly number[]>()
    const timer = setTimeout(late.resolve, sharedMsMax, [])
    try {
      return await Promise.race([this.#find({ from, local, remote }).catch(() => []), late.promise])
    } finally {
      clearTimeout(timer)
    }
  }

  #mayStart(): boolean {
    const second = Math.floor(performance.now() / 1000)
    if (second !== this.#second) [this.#second, this.#startedThisSecond] = [second, 0]
    return this.#inProgress < atOnceMax && ++this.#startedThisSecond <= perSecondMax
  }
}
