import { MayflyError } from '../contract/error.ts'
import type { AgentAnswer, AgentLink, AgentQuestion } from './agent-link.ts'
import type { AgentMessageOf, OverlayEntry } from './decode.ts'
import type { GuestPath } from './encode.ts'
import { type AgentFolder, chunkBytesMax, listedEntriesMax, skipMax } from './numbers.ts'

/**
 * Reads processes, folders, files and links of a guest through its agent.
 *
 * Answers are untrusted: a compromised agent can report endless folders and files of any size, or does not answer. So an inspector has
 * a deadline and a number of requests, and each answer is read up to a limit that the caller gives. No decision may depend on
 * an answer.
 *
 * Methods reject with MayflyError UNAVAILABLE once time or requests are used up, and PROTOCOL where the connection ended. A missing name,
 * or one of another type, is undefined.
 */
export interface InspectorLimits {
  readonly msMax: number
  readonly requestsMax?: number
}

export interface GuestFileRead {
  readonly bytes: Buffer
  readonly mode: number
  readonly uid: number
  /** The file is longer than `bytesMax`. */
  readonly isCut: boolean
}

const REQUESTS_MAX = 8_192

export class GuestInspector {
  readonly #agent: Pick<AgentLink, 'ask'>
  readonly #deadline: number
  #requestsLeft: number

  constructor(
    agent: Pick<AgentLink, 'ask'>,
    { msMax, requestsMax = REQUESTS_MAX }: InspectorLimits,
  ) {
    this.#agent = agent
    this.#deadline = performance.now() + msMax
    this.#requestsLeft = requestsMax
  }

  status(): Promise<AgentMessageOf<'statused'>> {
    return this.#ask({ kind: 'status' })
  }

  /** Entries of a folder, at most `countMax`. */
  async list(
    place: AgentFolder,
    path: GuestPath,
    countMax: number,
  ): Promise<readonly OverlayEntry[] | undefined> {
    const entries: OverlayEntry[] = []
    for (let hasMore = true; hasMore && entries.length < countMax && entries.length <= skipMax;) {
      const part = await this.#ask({ kind: 'look', place, path, skip: entries.length })
      if (part.errno !== 0) return undefined
      entries.push(...part.entries)
      hasMore = part.hasMore && part.entries.length === listedEntriesMax
    }
    return entries.slice(0, countMax)
  }

  /** Target of a link. */
  async link(place: AgentFolder, path: GuestPath, bytesMax: number): Promise<Buffer | undefined> {
    const { errno, isLink, bytes } = await this.#part(place, path, 0, bytesMax)
    return errno === 0 && isLink ? bytes : undefined
  }

  /** Content of a regular file, up to `bytesMax`. Chunks of a file in /proc may be of any length. */
  async file(
    place: AgentFolder,
    path: GuestPath,
    bytesMax: number,
  ): Promise<GuestFileRead | undefined> {
    const parts: Buffer[] = []
    let read = 0
    for (;;) {
      // Reads one byte beyond the limit, to know whether the file is longer.
      const room = Math.min(chunkBytesMax, bytesMax - read + 1)
      const part = await this.#part(place, path, read, room)
      if (part.errno !== 0 || part.isLink) return undefined
      read += part.bytes.length
      parts.push(part.bytes)
      if (part.bytes.length > 0 && read <= bytesMax) continue
      const { mode, uid } = part
      const bytes = Buffer.concat(parts).subarray(0, bytesMax)
      return { bytes, mode, uid, isCut: read > bytesMax }
    }
  }

  async #part(place: AgentFolder, path: GuestPath, offset: number, bytes: number) {
    const part = await this.#ask({ kind: 'read', place, path, offset, bytes })
    if (part.bytes.length <= bytes) return part
    throw new MayflyError('PROTOCOL', 'Cannot inspect a guest: an answer is longer than requested')
  }

  #ask<Asked extends AgentQuestion>(question: Asked): Promise<AgentAnswer<Asked['kind']>> {
    const msLeft = this.#deadline - performance.now()
    if (msLeft <= 0) return Promise.reject(exhausted('the deadline has passed'))
    if (this.#requestsLeft-- <= 0) return Promise.reject(exhausted('too many requests'))
    return this.#agent.ask(question, msLeft)
  }
}

/** Concurrent requests, because an emulated guest takes milliseconds for each. */
const CONCURRENCY = 8

/** Calls `act` for each item, some at once. Resolves to false if a call rejected; items after that are skipped. */
export async function forEachConcurrently<T>(
  items: Iterable<T>,
  act: (item: T) => Promise<void>,
): Promise<boolean> {
  const queue = items[Symbol.iterator]()
  const state = { isWhole: true }
  const worker = async () => {
    for (let next = queue.next(); state.isWhole && !next.done; next = queue.next())
      await act(next.value).catch(() => (state.isWhole = false))
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, worker))
  return state.isWhole
}

function exhausted(why: string): MayflyError {
  return new MayflyError('UNAVAILABLE', `Cannot inspect a guest: ${why}`)
}
