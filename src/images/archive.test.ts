import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { archiveOf, filesOfArchive, type ArchiveEntry } from './archive.ts'

const entries: readonly ArchiveEntry[] = [
  { kind: 'folder', path: 'modules', mode: 0o755, body: Buffer.alloc(0) },
  { kind: 'file', path: 'modules/order', mode: 0o400, body: Buffer.from('a\n') },
  { kind: 'link', path: 'link', mode: 0o777, body: Buffer.from('modules/order') },
  { kind: 'file', path: 'init', mode: 0o500, body: Buffer.from('12345') },
]

suite('Archives that a kernel unpacks', () => {
  test('A file has a header of 110 characters, its name and its bytes, each padded to four bytes', () => {
    const file = { kind: 'file', path: 'ab', mode: 0o644, body: Buffer.from('xyz') } as const
    const fields = '00000001 000081A4 00000000 00000000 00000001 00000000 00000003'
    const rest = '00000000 00000000 00000000 00000000 00000003 00000000'
    const header = `070701${fields}${rest}`.replaceAll(' ', '')
    const text = archiveOf([file]).toString('latin1')
    assert.equal(text.slice(0, 120), `${header}ab\0\0\0\0xyz\0`)
    assert.match(text.slice(120), /^070701[0-9A-F]{104}TRAILER!!!\0+$/)
    assert.equal(text.length % 4, 0)
  })

  test('The same entries give the same bytes, and their regular files are read back', () => {
    const bytes = archiveOf(entries)
    assert.deepEqual(archiveOf(entries), bytes)
    const files = [...filesOfArchive(bytes)].map(([name, body]) => [name, body.toString()])
    assert.deepEqual(files, [
      ['modules/order', 'a\n'],
      ['init', '12345'],
    ])
  })

  test('Attack: a truncated archive, or one with wrong sizes, is refused', () => {
    const bytes = archiveOf(entries)
    const end = bytes.lastIndexOf('TRAILER!!!') + 'TRAILER!!!'.length
    for (let length = 0; length < end; length++)
      assert.throws(() => filesOfArchive(bytes.subarray(0, length)), RangeError, `${length}`)
    for (const field of ['FFFFFFFF', '0000000G', '        ']) {
      const other = Buffer.from(bytes)
      other.write(field, 6 + 6 * 8, 'latin1')
      assert.throws(() => filesOfArchive(other), RangeError, field)
    }
  })

  test('Files over the limit are refused before they are concatenated', () => {
    const half = Buffer.alloc(129 * 2 ** 20)
    const file = { kind: 'file', path: 'a', mode: 0o644, body: half } as const
    assert.throws(() => archiveOf([file, { ...file, path: 'b' }]), /too large/)
  })
})
