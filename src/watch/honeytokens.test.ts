import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { suite, test } from 'node:test'
import { crc32 } from 'node:zlib'
import * as fc from 'fast-check'
import { honeytokensFor, TokenScanner } from './honeytokens.ts'

const key = Buffer.alloc(32, 1)
const tokens = honeytokensFor(key, 'exec_1')
const forms: readonly ((secret: string) => string)[] = [
  (secret) => secret,
  (secret) => Buffer.from(secret).toString('hex'),
  (secret) => Buffer.from(secret).toString('hex').toUpperCase(),
  (secret) => Buffer.from(secret).toString('base64'),
  (secret) => Buffer.from(`x${secret}y`).toString('base64'),
  (secret) => Buffer.from(`xx${secret}y`).toString('base64'),
  (secret) => Buffer.from(`{"k":"${secret}"}`).toString('base64url'),
  (secret) => Array.from(secret).toReversed().join(''),
  (secret) => secret.toLowerCase(),
  ...['', 'x', 'xy', 'xyz', 'wxyz'].map((more) => (secret: string) => base32(`${more}${secret}=`)),
  (secret) => base32(secret).toLowerCase(),
]

/** RFC 4648, section 6, without padding. */
function base32(text: string): string {
  let [bits, word] = ['', '']
  for (const byte of Buffer.from(text)) bits += byte.toString(2).padStart(8, '0')
  for (let at = 0; at < bits.length; at += 5)
    word += 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'[
      Number.parseInt(bits.slice(at, at + 5).padEnd(5, '0'), 2)
    ]
  return word
}

suite('Honeytokens', () => {
  test('Are stable per run, different between runs, and reveal nothing of the key', () => {
    assert.deepEqual(honeytokensFor(key, 'exec_1'), tokens)
    const other = honeytokensFor(key, 'exec_2')
    tokens.forEach(({ secret }, place) => assert.notEqual(secret, other[place]?.secret))
    assert.equal(new Set(tokens.map(({ secret }) => secret)).size, tokens.length)
    assert(tokens.every(({ secret }) => secret.length >= 24))
  })

  test('Appear in the files that carry them', () => {
    for (const { file, secret } of tokens) if (file) assert(file.content.includes(secret))
  })

  test('Have the alphabet and check digits of real secrets', () => {
    const all = Array.from({ length: 200 }, (_, run) => honeytokensFor(key, `exec_${run}`)).flat()
    const letters = (id: string) =>
      new Set(all.filter((one) => one.id === id).flatMap(({ secret }) => Array.from(secret)))
    for (const id of ['cloud-key', 'database-password']) assert.equal(letters(id).size, 62, id)
    const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
    for (const { secret } of all.filter(({ id }) => id === 'forge-token')) {
      const [, word = '', check = ''] = /^ghp_(\w{30})(\w{6})$/.exec(secret) ?? []
      const sum = Array.from(check).reduce((sum, digit) => sum * 62 + digits.indexOf(digit), 0)
      assert.equal(sum, crc32(word), secret)
    }
    for (const { file } of all.filter(({ id }) => id === 'cloud-key'))
      assert.match(file!.content, /^aws_access_key_id = AKIA[A-Z2-7]{16}$/m)
  })

  test('Are found in a stream across chunks: plain, reversed, hexadecimal, base64 and base32', () => {
    const before = fc.uint8Array({ maxLength: 300 })
    const cuts = fc.array(fc.nat(800), { maxLength: 6 })
    const one = fc.constantFrom(...tokens)
    fc.assert(
      fc.property(
        before,
        cuts,
        one,
        fc.constantFrom(...forms),
        (before, cuts, { id, secret }, form) => {
          const stream = Buffer.concat([before, Buffer.from(form(secret)), before])
          const places = [
            0,
            ...cuts.map((cut) => cut % stream.length).sort((a, b) => a - b),
            stream.length,
          ]
          const scanner = new TokenScanner(tokens)
          const found = places
            .slice(1)
            .flatMap((end, at) => scanner.scan(stream.subarray(places[at], end)))
          assert(found.includes(id))
        },
      ),
    )
  })

  test('Are found in lines of hexadecimal, base64 and base32, and between separators', () => {
    const wrap = (text: string, width: number) => text.replace(RegExp(`.{${width}}`, 'g'), '$&\n')
    for (const [shift, { id, secret }] of tokens.entries()) {
      const bytes = Buffer.from(`${'x'.repeat(shift)}${secret}=`)
      const hex = bytes.toString('hex')
      const wrapped = [
        wrap(hex, 60),
        wrap(bytes.toString('base64'), 20).replaceAll('\n', '\r\n'),
        wrap(base32(bytes.toString()), 20),
      ]
      const texts = [
        ...wrapped,
        ...wrapped.map((text) => JSON.stringify(text)),
        hex.replace(/../g, ' $&'),
        hex.replace(/..(?=.)/g, '$&:'),
      ]
      for (const text of texts) {
        const scanner = new TokenScanner(tokens)
        const halves = [text.slice(0, 30), text.slice(30)].map((half) => Buffer.from(half))
        assert.deepEqual(
          halves.flatMap((half) => scanner.scan(half)),
          [id],
          text,
        )
      }
    }
  })

  test('Are not reported where absent', () => {
    const scanner = new TokenScanner(tokens)
    for (let piece = 0; piece < 50; piece++) assert.deepEqual(scanner.scan(randomBytes(4096)), [])
    assert.deepEqual(scanner.scan(Buffer.from(tokens[0]!.secret.slice(0, -1))), [])
  })
})
