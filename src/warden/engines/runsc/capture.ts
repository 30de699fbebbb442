import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, mkdirSync, rmSync, statSync } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import type { Socket } from 'node:net'
import path from 'node:path'
import { MayflyError, messageOf } from '../../../contract/error.ts'
import type { CaptureProgress } from '../../../contract/warden.ts'
import { CopySocket } from '../copy-socket.ts'
import type { RunscResources } from './wall.ts'

/**
 * Capture by `runsc checkpoint --leave-running`: the state of the sentry, of every process, and every page of memory,
 * scratch folders among them. It contains neither the host's ends of sockets with their data in flight, nor open files
 * of the host. 180 ms measured for a Python of 8 MiB; the program is paused for that time.
 */
const IMAGES = ['checkpoint.img', 'pages_meta.img', 'pages.img'] as const
const CHECKPOINT_MS_MAX = 8_000
const PIECE_BYTES = 2 ** 20
const LACKS = ['connections of its sockets, and bytes on their way, are not in it']

export class Checkpoints {
  readonly #resources: RunscResources
  readonly #prefix: readonly string[]
  readonly #copies = new CopySocket()

  /** `prefix`: runsc with its global flags, as the user of the wall. */
  constructor(resources: RunscResources, prefix: readonly string[]) {
    this.#resources = resources
    this.#prefix = prefix
  }

  /** Opens the socket of the copies; returns the server's end. Once a life. */
  async open(): Promise<Socket> {
    try {
      return await this.#copies.open()
    } catch (error) {
      throw this.#cannot(messageOf(error))
    }
  }

  /** Resolves when the image is written; at most `bytesMax` of it are sent afterwards. */
  async capture(bytesMax: number): Promise<CaptureProgress> {
    if (!this.#copies.isOpen) throw this.#cannot('no socket was asked for')
    const folder = this.#makeFolder()
    try {
      await this.#checkpoint(folder)
    } catch (error) {
      rmSync(folder, { recursive: true, force: true })
      throw error
    }
    void this.#send(folder, bytesMax)
    return { processes: 1, leftOut: 0 }
  }

  #makeFolder(): string {
    const { folder, slot } = this.#resources
    const place = path.join(folder.all, 'image')
    rmSync(place, { recursive: true, force: true })
    mkdirSync(place, { mode: 0o700 })
    if (slot) chownSync(place, slot.uid, slot.uid)
    return place
  }

  async #checkpoint(folder: string): Promise<void> {
    const [file = '', ...flags] = this.#prefix
    const args = ['checkpoint', `--image-path=${folder}`, '--leave-running', '--compression=none']
    const child = spawn(file, [...flags, ...args, this.#resources.id], {
      cwd: '/',
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
      stdio: 'ignore',
      timeout: CHECKPOINT_MS_MAX,
      killSignal: 'SIGKILL',
    })
    const [code] = (await once(child, 'exit')) as [number | null]
    if (code !== 0) throw this.#cannot(`runsc checkpoint ended with ${code ?? 'a signal'}`)
  }

  /** Sends heads and bytes, with back-pressure; destroys the socket if a file cannot be read. */
  async #send(folder: string, bytesMax: number): Promise<void> {
    try {
      let left = bytesMax
      let isWhole = true
      for (const name of IMAGES) {
        const place = path.join(folder, name)
        const size = statSync(place).size
        const bytes = Math.min(size, left)
        isWhole &&= bytes === size
        left -= bytes
        await this.#sendFile(name, place, bytes)
      }
      this.#copies.end(isWhole, LACKS)
    } catch {
      this.#copies.destroy()
    } finally {
      await rm(folder, { recursive: true, force: true }).catch(() => undefined)
    }
  }

  async #sendFile(name: string, place: string, bytes: number): Promise<void> {
    await using file = await open(place, 'r')
    for (let at = 0; at < bytes;) {
      const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, bytes - at))
      const { bytesRead } = await file.read(piece, 0, piece.length, at)
      if (bytesRead !== piece.length) throw new Error(`"${name}" was truncated`)
      await this.#copies.send(name, piece)
      at += bytesRead
    }
  }

  #cannot(why: string): MayflyError {
    const { id } = this.#resources
    return new MayflyError('UNAVAILABLE', `Cannot capture the memory of wall "${id}": ${why}`)
  }
}
