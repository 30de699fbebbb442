import type { Socket } from 'node:net'
import type { MemoryCapture } from '../../../contract/engine.ts'
import { MayflyError, messageOf } from '../../../contract/error.ts'
import type { CaptureProgress } from '../../../contract/warden.ts'
import { CopySocket } from '../copy-socket.ts'
import type { CopyBounds, GuestCopy, GuestFile } from './source.ts'
import type { Stops } from './stops.ts'

const nothing: CopyBounds = { isWhole: false, lacks: [] }

/**
 * Captures of one guest, which stands still for as long as its copy is read. What is read goes to the server at once, with
 * back-pressure, so that no copy is held here.
 */
export class GuestCaptures implements MemoryCapture {
  readonly #copy: GuestCopy
  readonly #stops: Stops
  readonly #id: string
  readonly #socket = new CopySocket()

  constructor(id: string, copy: GuestCopy, stops: Stops) {
    this.#id = id
    this.#copy = copy
    this.#stops = stops
  }

  async open(): Promise<Socket> {
    try {
      return await this.#socket.open()
    } catch (error) {
      throw this.#cannot(error)
    }
  }

  /** Resolves once the first file can be sent; the rest is sent behind it. */
  async capture(bytesMax: number): Promise<CaptureProgress> {
    if (!this.#socket.isOpen) throw this.#cannot(new Error('no socket was asked for'))
    await this.#stops.stop('capture')
    const files = this.#copy.files(bytesMax)
    try {
      const first = await files.next()
      void this.#send(files, first)
      return { processes: 1, leftOut: 0 }
    } catch (error) {
      await this.#go()
      throw this.#cannot(error)
    }
  }

  async #send(
    files: AsyncGenerator<GuestFile, CopyBounds>,
    first: IteratorResult<GuestFile, CopyBounds>,
  ): Promise<void> {
    try {
      let next = first
      for (; !next.done; next = await files.next())
        await this.#socket.send(next.value.name, next.value.bytes)
      this.#socket.end(next.value.isWhole, next.value.lacks)
    } catch {
      this.#socket.destroy()
    } finally {
      await files.return(nothing).catch(() => undefined)
      await this.#go()
    }
  }

  /** A guest that has ended meanwhile does not answer. */
  async #go(): Promise<void> {
    await this.#stops.go('capture').catch(() => undefined)
  }

  #cannot(error: unknown): MayflyError {
    const message = `Cannot capture the memory of wall "${this.#id}": ${messageOf(error)}`
    return new MayflyError('UNAVAILABLE', message, { cause: error })
  }
}
