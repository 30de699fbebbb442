import assert from 'node:assert/strict'
import type { FileHandle } from 'node:fs/promises'
import { test } from 'node:test'
import { copySparse } from './copy-sparse.ts'

const size = 3 * 2 ** 20
const bytes = Buffer.alloc(size)
bytes.fill('m', 5000, 2 ** 21 + 7)

/** Files in memory; a write takes `shares` of what it is given, one after the other, and then all of it. */
function played(...shares: number[]) {
  const written = Buffer.alloc(size)
  const source = {
    async read(into: Buffer, offset: number, length: number, at: number) {
      return { bytesRead: bytes.copy(into, offset, at, at + length), buffer: into }
    },
  }
  const target = {
    truncate: async () => undefined,
    async write(from: Buffer, offset: number, length: number, at: number) {
      const taken = Math.floor(length * (shares.shift() ?? 1))
      return { bytesWritten: from.copy(written, at, offset, offset + taken), buffer: from }
    },
  }
  const copy = () =>
    copySparse(source as unknown as FileHandle, target as unknown as FileHandle, size)
  return { copy, written }
}

test('Writes that a full disk cuts short are completed', async () => {
  const { copy, written } = played(0.3, 1, 0.9)
  await copy()
  assert.ok(written.equals(bytes))
})

test('A copy is refused once the disk takes nothing more', async () => {
  const { copy } = played(0.5, 0)
  await assert.rejects(copy(), /the disk is full/)
})
