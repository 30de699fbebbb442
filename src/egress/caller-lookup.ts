import { isIPv4, type Socket } from 'node:net'
import type { ConnectionEnds } from '../contract/warden.ts'
import { within } from '../lib/within.ts'

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
  async of(socket: Socket): Promise<readonly number[]> {
    const ends = endsOf(socket)
    if (!this.#find || !ends || !this.#mayStart()) return []
    this.#inProgress++
    const found = this.#find(ends).catch(() => [])
    void found.then(() => this.#inProgress--)
    return await within(found, waitMsMax, [])
  }

  /** The same for a shared listener, where access depends on the result: no rate limit, and a longer deadline. */
  async ofShared(socket: Socket): Promise<readonly number[]> {
    const ends = endsOf(socket)
    if (!this.#find || !ends) return []
    return await within(
      this.#find(ends).catch(() => []),
      sharedMsMax,
      [],
    )
  }

  #mayStart(): boolean {
    const second = Math.floor(performance.now() / 1000)
    if (second !== this.#second) [this.#second, this.#startedThisSecond] = [second, 0]
    return this.#inProgress < atOnceMax && ++this.#startedThisSecond <= perSecondMax
  }
}

/** Undefined for a connection that is closed, or not of IPv4. */
function endsOf({
  remoteAddress: from = '',
  remotePort: local,
  localPort: remote,
}: Socket): ConnectionEnds | undefined {
  if (!isIPv4(from) || local === undefined || remote === undefined) return undefined
  return { from, local, remote }
}
