import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SecretScan } from './credentials.ts'

const secret = 'sk-live-0123456789abcdef'

/** What is passed on of a text that comes in pieces of one size, and whether all of it was. */
function passed(text: string, size: number): { said: string; isWhole: boolean } {
  const scan = new SecretScan([secret])
  let said = ''
  for (let at = 0; at < text.length; at += size) {
    const may = scan.pass(Buffer.from(text.slice(at, at + size)))
    if (!may) return { said, isWhole: false }
    said += String(may)
  }
  return { said: said + String(scan.rest()), isWhole: true }
}

for (const size of [1, 2, 7, 23, 24, 25, 1_000])
  test(`Of a secret in pieces of ${size} bytes not even the beginning is passed on`, () => {
    for (const written of [secret, Buffer.from(secret).toString('base64').replace(/=+$/, '')]) {
      const { said, isWhole } = passed(`before ${written} after`, size)
      assert.ok(!isWhole && 'before '.startsWith(said), said)
    }
  })

test('What only begins like a secret is passed on, once it is seen to be none', () => {
  for (const text of ['sk-live-no', 'sk-sk-live-', 'ssssk-live-0123456789abcde', 'plain', ''])
    for (const size of [1, 3, 100])
      assert.deepEqual(passed(text, size), { said: text, isWhole: true })
  const scan = new SecretScan([secret])
  assert.equal(String(scan.pass(Buffer.from('data: sk-live\n\n'))), 'data: sk-live\n\n')
})
