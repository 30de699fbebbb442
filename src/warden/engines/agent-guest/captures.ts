import type { Socket } from 'node:net'
import type { MemoryCapture } from '../../../contract/engine.ts'
import { setImmediate as turn } from 'node:timers/promises'
import type { ConversationState } from '../../../agent-wire/conversation.ts'
import type { AgentLink } from '../../../agent-wire/agent-link.ts'
import { viewBytesMax, viewGuest } from '../../../agent-wire/guest-view.ts'
import { MayflyError, messageOf } from '../../../contract/error.ts'
import type { CaptureProgress } from '../../../contract/warden.ts'
import { CopySocket } from '../copy-socket.ts'
import type { CopyBounds, GuestCopy, GuestFile } from './source.ts'
import type { JobFreezer } from './job-freezer.ts'
import type { NestedPauses } from './nested-pauses.ts'

/**
 * Captures of one guest. Order: the agent freezes the job inside the guest, the host pauses the guest and copies its memory, then
 * resumes it with the job still frozen, and the agent reports processes, sockets and files (`viewGuest`).
 *
 * A copy that a machine can be resumed from also has the position of the conversation with the agent (`agent.json`), at which another
 * host goes on. Without it the copy can be read, and not resumed.
 *
 * Bytes go to the server at once, with back-pressure, so that the warden buffers no copy. The guest can do nothing new while it
 * reports: its egress paths and limits are those of before, and the memory was copied already. A guest that did not freeze its job, or
 * does not answer in time, loses these parts alone, and the capture says so.
 */
export interface CapturedGuest {
  readonly id: string
  readonly agent: AgentLink
  readonly pauses: NestedPauses
  readonly freezer: JobFreezer
}

const nothing: CopyBounds = { isWhole: false, lacks: [] }
/** Limit of the report, and of the capture up to its end: the server waits 5 s (`captureMsMax`). */
const VIEW_MS_MAX = 3_000
const ALL_MS_MAX = 4_400
const NOT_FROZEN = 'the guest did not freeze its job, so its processes and files were not listed'
const NOT_RESUMABLE = 'the conversation with the guest was not at rest, so it cannot be resumed'
const VIEW_LOST = 'the guest ended before it reported its processes and files'

export class GuestCaptures implements MemoryCapture {
  readonly #copy: GuestCopy
  readonly #guest: CapturedGuest
  readonly #socket = new CopySocket()

  constructor(copy: GuestCopy, guest: CapturedGuest) {
    this.#copy = copy
    this.#guest = guest
  }

  async open(): Promise<Socket> {
    try {
      return await this.#socket.open()
    } catch (error) {
      throw this.#cannot(error)
    }
  }

  /** Resolves once the first file can be sent; the rest is sent behind it. Begins after a fork of the guest that is being saved. */
  capture(bytesMax: number): Promise<CaptureProgress> {
    const until = performance.now() + ALL_MS_MAX
    const begun = Promise.withResolvers<CaptureProgress>()
    const all = () => this.#capture(bytesMax, { until, begin: begun.resolve })
    this.#guest.pauses.alone(all).catch(begun.reject)
    return begun.promise
  }

  /** Resolves once the guest goes on. Rejects where nothing can be sent. */
  async #capture(
    bytesMax: number,
    {
      until,
      begin,
    }: { readonly until: number; readonly begin: (progress: CaptureProgress) => void },
  ): Promise<void> {
    if (!this.#socket.isOpen) throw this.#cannot(new Error('its socket is not open'))
    await this.#pause()
    const position = await this.#position()
    const files = this.#copy.files(Math.max(0, bytesMax - viewBytesMax))
    let first: IteratorResult<GuestFile, CopyBounds>
    try {
      first = await files.next()
    } catch (error) {
      await this.#go()
      throw this.#cannot(error)
    }
    const { base } = this.#copy
    begin({ processes: 1, leftOut: 0, ...(base && { base }) })
    await this.#send(files, first, { until, position })
  }

  /** A guest that its CPU limit paused has no frozen job: it is resumed for that, and its job runs on until then. */
  async #pause(): Promise<void> {
    const { pauses, freezer } = this.#guest
    await pauses.pause('capture')
    try {
      if (!freezer.isFrozen) await pauses.resumeDuring(() => freezer.freeze())
    } catch (error) {
      await this.#go()
      throw error
    }
  }

  async #send(
    files: AsyncGenerator<GuestFile, CopyBounds>,
    first: IteratorResult<GuestFile, CopyBounds>,
    {
      until,
      position,
    }: { readonly until: number; readonly position: ConversationState | undefined },
  ): Promise<void> {
    try {
      let next = first
      for (; !next.done; next = await files.next())
        await this.#socket.send(next.value.name, next.value.bytes)
      const { isWhole, lacks } = next.value
      const save = isWhole && lacks.length === 0 ? await this.#sendPosition(position) : []
      this.#socket.end(isWhole, [...lacks, ...save, ...(await this.#sendView(until))])
    } catch {
      this.#socket.destroy()
    } finally {
      await files.return(nothing).catch(() => undefined)
      await this.#go()
    }
  }

  /**
   * Position of the conversation, once everything that the stopped guest had sent was received. Undefined where it is not at rest, or where
   * the job is not frozen: its programs would go on before the resumed guest has a name and a generator of its own.
   */
  async #position(): Promise<ConversationState | undefined> {
    const { agent, freezer } = this.#guest
    if (!this.#copy.isResumable || !freezer.isFrozen) return undefined
    // Bytes that wait in the socket are read in the next poll of the event loop.
    await turn()
    await turn()
    try {
      return agent.position
    } catch {
      return undefined
    }
  }

  async #sendPosition(position: ConversationState | undefined): Promise<readonly string[]> {
    const { isFrozen } = this.#guest.freezer
    if (!this.#copy.isResumable || !isFrozen) return []
    if (!position) return [NOT_RESUMABLE]
    await this.#socket.send('agent.json', Buffer.from(JSON.stringify(position)))
    return []
  }

  /** Resolves with the reasons why parts are missing or incomplete. */
  async #sendView(until: number): Promise<readonly string[]> {
    const { agent, freezer, pauses } = this.#guest
    if (!freezer.isFrozen) return [NOT_FROZEN]
    const send = async () => {
      const msMax = Math.min(VIEW_MS_MAX, until - performance.now())
      const parts = viewGuest(agent, Math.max(0, msMax))
      let next = await parts.next()
      for (; !next.done; next = await parts.next())
        await this.#socket.send(next.value.name, next.value.bytes, 'guest')
      return next.value
    }
    return await pauses.resumeDuring(send).catch(() => [VIEW_LOST])
  }

  /** Race: a guest that ended does not answer. */
  async #go(): Promise<void> {
    await this.#guest.pauses.resume('capture').catch(() => undefined)
  }

  #cannot(error: unknown): MayflyError {
    const message = `Cannot capture the memory of wall "${this.#guest.id}": ${messageOf(error)}`
    return new MayflyError('UNAVAILABLE', message, { cause: error })
  }
}
