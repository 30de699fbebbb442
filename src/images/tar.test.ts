import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { tarBlock, tarPadding } from '../lib/tar.ts'
import { TarReader, tarHeader, type TarEntry } from './tar.ts'
import { tarOf } from '../../tests/fixtures/images.ts'

const ignored = { entry: () => undefined, data: () => undefined }

suite('Tar streams', () => {
  test('A stream round-trips, in chunks of any size, with long names', () => {
    const path = `usr/${'long/'.repeat(40)}name`
    const target = `../${'far/'.repeat(50)}away`
    const file = { kind: 'file', path, mode: 0o755, size: 5, target: '' } as const
    const link = { kind: 'link', path: 'a', mode: 0o777, size: 0, target } as const
    const bytes = Buffer.concat([
      tarHeader(file, 1),
      Buffer.from('hello'),
      tarPadding(5),
      tarHeader(link, 1),
      Buffer.alloc(1024),
    ])
    for (const size of [1, 7, 511, 512, 513, bytes.length]) {
      const read = readIn(bytes, size)
      assert.deepEqual(read.entries, [file, link])
      assert.equal(read.text, 'hello')
    }
  })

  test('A long name and a long target round-trip whose fields end within a character, as GNU tar writes them', () => {
    const name = 'あ'.repeat(40)
    const link = { kind: 'link', path: name, mode: 0o777, size: 0, target: name } as const
    const bytes = tarHeader(link, 1)
    const header = bytes.subarray(-tarBlock)
    for (const at of [0, 157]) Buffer.from(name).copy(header, at, 0, 100)
    header.fill(' ', 148, 156)
    const sum = header.reduce((total, byte) => total + byte, 0)
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
    assert.deepEqual(readIn(Buffer.concat([bytes, Buffer.alloc(1024)])).entries, [link])
  })

  for (const [what, type] of Object.entries({
    device: '3',
    'block device': '4',
    FIFO: '6',
    'sparse file': 'S',
    'pax record': 'x',
  }))
    test(`Attack: a ${what} is refused`, () => {
      assert.throws(() => readIn(tarOf([{ path: 'dev/x', type }])), /an entry of type/)
    })

  test('Attack: a truncated stream is refused', () => {
    const bytes = tarOf([{ path: 'a', text: 'hello' }])
    for (const length of [0, 511, 512, 700, 1024]) {
      assert.throws(() => readIn(bytes.subarray(0, length)), /truncated/)
    }
  })

  test('Attack: a header with one bit changed is refused', () => {
    const bytes = tarOf([{ path: 'a', text: 'hello' }])
    bytes[100]! ^= 1
    assert.throws(() => readIn(bytes), /checksum/)
  })

  test('Attack: an unterminated long name, or one without an entry, is refused', () => {
    const long = { kind: 'file', path: 'x'.repeat(5000), mode: 0, size: 0, target: '' } as const
    assert.throws(() => readIn(tarHeader(long, 0)), /too long/)
    const alone = tarHeader({ ...long, path: 'x'.repeat(200) }, 0).subarray(0, 1024)
    assert.throws(() => readIn(Buffer.concat([alone, Buffer.alloc(1024)])), /after a long name/)
  })

  test('Attack: headers without an entry, as many as a disk holds, are refused', () => {
    const header = tarOf([{ path: 'x', type: 'L', text: 'long' }]).subarray(0, 2 * tarBlock)
    const reader = new TarReader(ignored, { entriesMax: 10 })
    assert.throws(() => {
      for (let at = 0; at < 1000; at += 1) reader.push(header)
    }, /too many headers/)
  })

  test('Attack: a stream with data after its end is refused', () => {
    const reader = new TarReader(ignored)
    const zeros = Buffer.alloc(2 ** 20)
    assert.throws(() => {
      for (let at = 0; at < 100; at += 1) reader.push(zeros)
    }, /has data after its end/)
  })

  test('Attack: a folder or a link with bytes is refused', () => {
    for (const type of ['1', '2', '5'])
      assert.throws(() => readIn(tarOf([{ path: 'a', type, text: 'x' }])), /bytes where no file/)
  })

  test('Attack: a name that is not UTF-8 is refused', () => {
    const bytes = tarOf([{ path: 'ab' }])
    bytes[0] = 0xff
    const sum = bytes
      .subarray(0, 512)
      .reduce((all, byte, at) => (at >= 148 && at < 156 ? all + 32 : all + byte), 0)
    bytes.write(sum.toString(8).padStart(6, '0'), 148)
    assert.throws(() => readIn(bytes), /UTF-8/)
  })
})

function readIn(bytes: Uint8Array, size = bytes.length) {
  const entries: TarEntry[] = []
  let text = ''
  const reader = new TarReader({
    entry: (entry) => entries.push(entry),
    data: (data) => (text += Buffer.from(data).toString()),
  })
  for (let at = 0; at < bytes.length; at += size) reader.push(bytes.subarray(at, at + size))
  reader.end()
  return { entries, text }
}
