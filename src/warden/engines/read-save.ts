import type { FileHandle } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { MayflyError, messageOf } from '../../contract/error.ts'
import {
  saveBlockBytes,
  saveDevicesBytesMax,
  saveKinds,
  savePieceBytesMax,
} from '../../contract/machine-save.ts'
import { FrameDecoder, type Frame } from '../../lib/frames.ts'
import { writeWholeAt } from '../../lib/write-whole.ts'

/**
 * Receives the save of a machine (`src/walls/send-save.ts`) into two files. Frames are bounded, memory comes in rising order of blocks, and
 * bytes of devices have a bound. A save counts once its `end` has come: the sender sends that after it has verified each digest.
 */
export interface SaveFiles {
  readonly memory: FileHandle
  readonly devices: FileHandle
  readonly memoryBytes: number
}

const SAVE_MS_MAX = 300_000
const FIRST_BYTES = 4

/** Rejects with MayflyError PROTOCOL for a save that is late, cut or malformed. */
export async function readSave(socket: Socket, files: SaveFiles, msMax = SAVE_MS_MAX) {
  const late = setTimeout(() => socket.destroy(new Error('it is late')), msMax)
  const save = new IncomingSave(files)
  const frames = new FrameDecoder(savePieceBytesMax + FIRST_BYTES)
  try {
    for await (const chunk of socket)
      for (const frame of frames.push(chunk as Buffer)) if (await save.take(frame)) return
    throw new Error('its sender is gone')
  } catch (error) {
    throw new MayflyError('PROTOCOL', `Cannot read the save of a machine: ${messageOf(error)}`, {
      cause: error,
    })
  } finally {
    clearTimeout(late)
  }
}

class IncomingSave {
  readonly #files: SaveFiles
  #nextByte = 0
  #devicesBytes = 0

  constructor(files: SaveFiles) {
    this.#files = files
  }

  /** True for the end. */
  async take({ kind, payload }: Frame): Promise<boolean> {
    if (kind === saveKinds.memory) await this.#memory(payload)
    else if (kind === saveKinds.devices) await this.#devices(payload)
    else if (kind !== saveKinds.end || payload.length > 0)
      throw new RangeError('it has an odd frame')
    else if (this.#devicesBytes === 0) throw new RangeError('it has no devices')
    return kind === saveKinds.end
  }

  async #memory(payload: Buffer): Promise<void> {
    if (payload.length <= FIRST_BYTES) throw new RangeError('it has an empty piece')
    const at = payload.readUInt32LE(0) * saveBlockBytes
    const bytes = payload.subarray(FIRST_BYTES)
    if (at < this.#nextByte || at + bytes.length > this.#files.memoryBytes)
      throw new RangeError('it has memory out of its place')
    this.#nextByte = at + bytes.length
    await writeWholeAt(this.#files.memory, bytes, at)
  }

  async #devices(bytes: Buffer): Promise<void> {
    const at = this.#devicesBytes
    this.#devicesBytes += bytes.length
    if (this.#devicesBytes > saveDevicesBytesMax) throw new RangeError('its devices are too large')
    await writeWholeAt(this.#files.devices, bytes, at)
  }
}
