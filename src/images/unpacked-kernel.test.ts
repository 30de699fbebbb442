import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { zstdCompressSync } from 'node:zlib'
import { unpackedKernel } from './unpacked-kernel.ts'

const elf = Buffer.concat([Buffer.from('\x7fELF', 'latin1'), Buffer.alloc(1_000, 7)])
const SETUP_SECTORS = 3
const OFFSET = 100

/** A bzImage with this payload. */
function imageOf(payload: Buffer): Buffer {
  const head = Buffer.alloc((SETUP_SECTORS + 1) * 512 + OFFSET)
  head[0x1f1] = SETUP_SECTORS
  head.write('HdrS', 0x202, 'latin1')
  head.writeUInt16LE(0x20f, 0x206)
  head.writeUInt32LE(OFFSET, 0x248)
  head.writeUInt32LE(payload.length, 0x24c)
  return Buffer.concat([head, payload, Buffer.alloc(64)])
}

function payloadOf(file: Buffer, bytes = file.length): Buffer {
  const size = Buffer.alloc(4)
  size.writeUInt32LE(bytes)
  return Buffer.concat([zstdCompressSync(file), size])
}

suite('Kernel of a bzImage', () => {
  test('The ELF file is unpacked', () => {
    assert.deepEqual(unpackedKernel(imageOf(payloadOf(elf))), elf)
  })

  const cut = imageOf(payloadOf(elf))
  const cases: readonly (readonly [string, Buffer, RegExp])[] = [
    ['another compression', imageOf(Buffer.from('\x1f\x8b 12345678', 'latin1')), /not compressed/],
    ['no ELF file', imageOf(payloadOf(Buffer.alloc(200))), /no ELF file/],
    ['another size', imageOf(payloadOf(elf, 7)), /no ELF file/],
    ['a size beyond the maximum', imageOf(payloadOf(elf, 2 ** 31)), /too large/],
    ['a payload that is cut off', cut.subarray(0, cut.length - 70), /cut off/],
    ['no kernel', Buffer.alloc(4_096), /no bzImage/],
    ['an empty file', Buffer.alloc(0), /no bzImage/],
  ]
  for (const [title, file, why] of cases)
    test(`Refused: ${title}`, () => {
      assert.throws(() => unpackedKernel(file), why)
    })
})
