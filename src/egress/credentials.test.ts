import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SecretScan } from './credentials.ts'

const secret = 'sk-live-0123456789abcdef'

/** Bytes passed on of a text in pieces of one size, and whether the text is complete. */
function passed(text: string, size: number): { said: string; isWhole: boolean } {
  const scan = new SecretScan([secret])
  let said = ''
  for (let at = 0; at < text.length; at += size) {
    const may = scan.filter(Buffer.from(text.slice(at, at + size)))
    if (!may) return { said, isWhole: false }
    said += String(may)
  }
  return { said: said + String(scan.flush()), isWhole: true }
}

for (const size of [1, 2, 7, 23, 24, 25, 1_000])
  test(`A secret in pieces of ${size} bytes is blocked before its first byte is passed on`, () => {
    for (const written of [secret, Buffer.from(secret).toString('base64').replace(/=+$/, '')]) {
      const { said, isWhole } = passed(`before ${written} after`, size)
      assert.ok(!isWhole && 'before '.startsWith(said), said)
    }
  })

test('Attack: a secret in base64 is blocked at every position of a longer text, in both alphabets', () => {
  for (const [own, after] of [
    [secret, ''],
    ['sk-live-0123456789abcde>?~', 'and more'],
  ] as const)
    for (const before of ['', 'a', 'ab', 'me:'])
      for (const form of ['base64', 'base64url'] as const) {
        const text = Buffer.from(`${before}${own}${after}`).toString(form)
        assert.ok(new SecretScan([own]).finds(Buffer.from(text)), `${before} ${own} ${form}`)
      }
  assert.ok(!new SecretScan(['a', 'ab', 'abc']).finds(Buffer.from('0123456789')))
})

test('A false start of a secret is passed on once it cannot become one', () => {
  for (const text of ['sk-live-no', 'sk-sk-live-', 'ssssk-live-0123456789abcde', 'plain', ''])
    for (const size of [1, 3, 100])
      assert.deepEqual(passed(text, size), { said: text, isWhole: true })
  const scan = new SecretScan([secret])
  assert.equal(String(scan.filter(Buffer.from('data: sk-live\n\n'))), 'data: sk-live\n\n')
})

test('Attack: guesses at the start of a secret that a host echoes are passed on alike, so that none is confirmed', () => {
  const lengths = (ends: string) => {
    const scan = new SecretScan([secret])
    const first = scan.filter(Buffer.from(`${'#'.repeat(100)}${ends}`))
    return [first!.length, scan.filter(Buffer.from('#'.repeat(100)))!.length]
  }
  for (let known = 1; known < secret.length; known++)
    assert.deepEqual(lengths(secret.slice(0, known)), lengths('?'.repeat(known)), `${known}`)
})

test('Bytes held back are released when the stream is quiet, unless half a secret may be in them', () => {
  for (const [text, released] of [
    ['no line end', 'no line end'],
    ['starts: sk-live', 'starts: sk-live'],
    ['starts: sk-live-0123', 'starts: '],
  ] as const) {
    const scan = new SecretScan([secret])
    const passedOn = String(scan.filter(Buffer.from(text)))
    assert.equal(passedOn + String(scan.release()), released)
  }
})

test('Less than half of a secret in pieces, with a pause after each, is released', () => {
  const base64 = Buffer.from(secret).toString('base64').replace(/=+$/, '')
  for (const form of [secret, base64])
    for (let size = 1; size < form.length; size++) {
      const scan = new SecretScan([secret])
      let passedOn = ''
      let isCut = false
      for (let at = 0; at < form.length && !isCut; at += size) {
        const passed = scan.filter(Buffer.from(form.slice(at, at + size)))
        isCut = passed === undefined
        if (passed) passedOn += String(passed) + String(scan.release())
      }
      assert.ok(isCut, `${size}`)
      assert.ok(passedOn.length * 2 < form.length, `${size}: ${passedOn}`)
    }
})
