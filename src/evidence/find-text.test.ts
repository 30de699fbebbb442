import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { zstdCompressSync } from 'node:zlib'
import { findText, findTextMax, type TextFound } from './find-text.ts'

suite('Texts in captured parts', () => {
  test('A text is found as UTF-8 and as UTF-16LE, with its offset, also across two pieces', async () => {
    const bytes = Buffer.concat([
      Buffer.from('....'),
      Buffer.from('größe'),
      Buffer.alloc(3),
      Buffer.from('größe', 'utf16le'),
      Buffer.from('größ'),
    ])
    const found = [
      { offset: 4, encoding: 'utf-8' },
      { offset: 14, encoding: 'utf-16le' },
    ]
    for (let size = 1; size <= bytes.length; size++)
      assert.deepEqual(await placesIn('memory.bin', pieces(bytes, size)), found, `${size}`)
  })

  test('A compressed part is searched by its plain bytes', async () => {
    const plain = Buffer.concat([Buffer.alloc(3_000_000), Buffer.from('planted'), Buffer.alloc(99)])
    const packed = zstdCompressSync(plain)
    const places = [{ offset: 3_000_000, encoding: 'utf-8' }]
    assert.deepEqual(await placesIn('memory.zst', pieces(packed, 100)), places)
    assert.deepEqual(await placesIn('memory.bin', pieces(packed, 100)), [])
  })

  test('Places that overlap are all found, once', async () => {
    const found = await placesIn('memory.bin', pieces(Buffer.from('aaaa'), 1), 'aa')
    assert.deepEqual(
      found.map(({ offset }) => offset),
      [0, 1, 2],
    )
  })

  test('An empty and an endless text, a part cut short and a reading that fails are errors', async () => {
    for (const text of ['', 'x'.repeat(findTextMax + 1)])
      await assert.rejects(placesIn('a', pieces(Buffer.alloc(9), 9), text), { code: 'INVALID' })
    const packed = zstdCompressSync(Buffer.alloc(100_000, 'noise'))
    const cut = pieces(packed.subarray(0, packed.length - 5), 20)
    await assert.rejects(placesIn('memory.zst', cut), { code: 'STATE' })
    await assert.rejects(placesIn('memory.zst', pieces(Buffer.from('no zstd'), 3)), {
      code: 'STATE',
    })
    const fails = (async function* () {
      yield packed.subarray(0, 10)
      throw new Error('the disk is gone')
    })()
    await assert.rejects(placesIn('memory.zst', fails), /the disk is gone/)
  })
})

async function placesIn(name: string, bytes: AsyncIterable<Uint8Array>, text?: string) {
  const found: Omit<TextFound, 'context'>[] = []
  for await (const { offset, encoding, context } of findText(
    { name, bytes },
    text ?? (name.endsWith('zst') ? 'planted' : 'größe'),
  )) {
    assert.ok(context.includes(text ?? (name.endsWith('zst') ? 'planted' : 'größe')), context)
    found.push({ offset, encoding })
  }
  return found
}

async function* pieces(bytes: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}
