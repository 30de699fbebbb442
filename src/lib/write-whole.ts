import type { FileHandle } from 'node:fs/promises'

/** Race: a write to a full disk may be short. Rejects with Error where nothing more is written, and as the file system does. */
export async function writeWholeAt(
  file: Pick<FileHandle, 'write'>,
  bytes: Uint8Array,
  at: number,
): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, at + done)
    if (bytesWritten === 0) throw new Error('the disk is full')
    done += bytesWritten
  }
}
