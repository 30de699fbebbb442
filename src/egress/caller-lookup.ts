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
/** Lookups for a shared listener at once, and further ones that wait: as many as connections that a proxy holds. */
const sharedAtOnceMax = 16
const sharedWaitingMax = 320

/** Rate-limited lookup of the processes behind the connections of one run. */
export class CallerLookup {
  readonly #find: FindCallers | undefined
  #inProgress = 0
  #second = 0
  #startedThisSecond = 0
  #sharedInProgress = 0
  /** Each begins a lookup for a shared listener, once another has ended. */
  readonly #sharedWaiting: (() => void)[] = []

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

  /**
   * The same for a shared listener, where access depends on the result: no rate limit, a longer deadline, and a queue
   * behind few at once. Beyond it a connection is not asked about, and has no caller.
   */
  async ofShared(socket: Socket): Promise<readonly number[]> {
    const [find, ends] = [this.#find, endsOf(socket)]
    if (!find || !ends || this.#sharedWaiting.length >= sharedWaitingMax) return []
    return await within(
      this.#inTurn(() => find(ends)),
      sharedMsMax,
      [],
    )
  }

  /** Never rejects. A lookup that is given up goes on, and keeps its place until its end. */
  async #inTurn(look: () => Promise<readonly number[]>): Promise<readonly number[]> {
    if (this.#sharedInProgress < sharedAtOnceMax) this.#sharedInProgress++
    else await new Promise<void>((begin) => void this.#sharedWaiting.push(begin))
    try {
      return await look()
    } catch {
      return []
    } finally {
      // The place passes on to the one that has waited longest.
      const next = this.#sharedWaiting.shift()
      if (next) next()
      else this.#sharedInProgress--
    }
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
