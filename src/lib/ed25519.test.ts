import assert from 'node:assert/strict'
import { createHash, generateKeyPairSync, sign } from 'node:crypto'
import { test } from 'node:test'
import { fromBase64, isKey, verifyStrictly } from './ed25519.ts'

const P = 2n ** 255n - 19n
const L = 2n ** 252n + 27742317777372353535851937790883648493n
/** Curve constant d: -121665 / 121666. */
const D = 37095705934669439343138083508754565189542113879843219016388785533085940283555n
const hex = (text: string) => Buffer.from(text, 'hex')

test('S3-24: a signature of RFC 8032 is valid, and invalid after a change of any byte', () => {
  const key = hex('3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c')
  const signature = hex(
    '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da' +
      '085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
  )
  assert.ok(verifyStrictly(hex('72'), signature, key))
  assert.ok(!verifyStrictly(hex('73'), signature, key))
  for (let at = 0; at < 64 * 8; at += 7)
    assert.ok(!verifyStrictly(hex('72'), flip(signature, at), key))
  for (let at = 0; at < 32 * 8; at += 7)
    assert.ok(!verifyStrictly(hex('72'), signature, flip(key, at)))
})

test('S3-24: the same signature with S + L is another text, and refused', () => {
  const { key, signed } = pair()
  const message = Buffer.from('return 1')
  const signature = signed(message)
  assert.ok(verifyStrictly(message, signature, key))
  const malleable = Buffer.concat([
    signature.subarray(0, 32),
    bytesOf(numberOf(signature.subarray(32)) + L),
  ])
  assert.ok(!verifyStrictly(message, malleable, key))
})

test('S3-24: no point of small order, in any encoding, is a key or part of a signature', () => {
  const points = smallOrderPoints()
  assert.equal(points.length, 8)
  const encodings = points.flatMap(({ x, y }) =>
    [y, y + P]
      .filter((value) => value < 2n ** 255n)
      .flatMap((value) => [value, value + 2n ** 255n])
      .filter((value) => value >> 255n === (x & 1n) || x === 0n),
  )
  // Four of the neutral point, two of each of the three of order two and four, one of each of the four of order eight.
  assert.equal(encodings.length, 14)
  const { key, signedByNeutral } = pair()
  // The holder of a key of large order can sign with the neutral point as R, and no other point of small order.
  const message = Buffer.from('return 1')
  assert.ok(!verifyStrictly(message, signedByNeutral(message), key))
  for (const encoding of encodings) {
    const point = bytesOf(encoding)
    assert.ok(!isKey(point), point.toString('hex'))
    // With R and A of small order and S = 0 a lenient verifier accepts every eighth message or more.
    for (let i = 0; i < 12; i++) {
      const message = Buffer.from(`message ${i}`)
      assert.ok(!verifyStrictly(message, Buffer.concat([point, bytesOf(0n)]), point))
      assert.ok(!verifyStrictly(message, Buffer.concat([point, bytesOf(0n)]), key))
    }
  }
})

test('A key whose y is not below p, or that is not a point, is refused', () => {
  assert.ok(!isKey(bytesOf(P)))
  assert.ok(!isKey(bytesOf(P + 3n)))
  assert.ok(!isKey(Buffer.alloc(31, 7)))
  assert.ok(!verifyStrictly(Buffer.from('x'), Buffer.alloc(64, 1), bytesOf(2n)))
})

test('Base64 has one canonical spelling', () => {
  const { key } = pair()
  const text = key.toString('base64')
  assert.deepEqual(fromBase64(text, 32), key)
  const spellings = [
    text.replace('=', ''),
    `${text}=`,
    ` ${text}`,
    `${text}\n`,
    key.toString('hex'),
    key.toString('base64url') === text.slice(0, -1) ? '' : key.toString('base64url'),
    lastBitsSet(text),
  ]
  for (const spelling of spellings) assert.equal(fromBase64(spelling, 32), undefined, spelling)
  assert.equal(fromBase64(text, 31), undefined)
})

function pair() {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const key = Buffer.from(publicKey.export({ format: 'jwk' }).x!, 'base64url')
  const seed = Buffer.from(privateKey.export({ format: 'jwk' }).d!, 'base64url')
  return {
    key,
    signed: (message: Uint8Array) => sign(null, message, privateKey),
    signedByNeutral(message: Uint8Array) {
      const secret = sha512(seed).subarray(0, 32)
      secret[0]! &= 248
      secret[31] = (secret[31]! & 63) | 64
      const neutral = bytesOf(1n)
      const challenge = numberOf(sha512(neutral, key, message))
      return Buffer.concat([neutral, bytesOf((challenge * numberOf(secret)) % L)])
    },
  }
}

/** 32 bytes leave two bits of the last letter unused. */
function lastBitsSet(text: string): string {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
  return `${text.slice(0, 42)}${letters[letters.indexOf(text[42]!) | 1]}=`
}

function flip(bytes: Buffer, bit: number): Buffer {
  const copy = Buffer.from(bytes)
  copy[bit >> 3]! ^= 1 << (bit & 7)
  return copy
}

function bytesOf(value: bigint): Buffer {
  return Buffer.from(hex(value.toString(16).padStart(64, '0')).toReversed())
}

function numberOf(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes.toReversed()).toString('hex')}`)
}

interface Point {
  readonly x: bigint
  readonly y: bigint
}

/** Small-order points, computed independently: multiples by L of trial points. */
function smallOrderPoints(): readonly Point[] {
  const found = new Map<string, Point>()
  for (let y = 2n; found.size < 8 && y < 200n; y++) {
    const x = xOf(y)
    if (x === undefined) continue
    let point = times(L, { x, y })
    for (let i = 0; i < 8; i++) {
      found.set(`${point.x},${point.y}`, point)
      point = add(point, times(L, { x, y }))
    }
  }
  return [...found.values()]
}

function xOf(y: bigint): bigint | undefined {
  const square = mod((y * y - 1n) * inverse(mod(D * y * y + 1n)))
  const root = power(square, (P + 3n) / 8n)
  for (const x of [root, mod(root * power(2n, (P - 1n) / 4n))]) if (mod(x * x) === square) return x
  return undefined
}

function times(factor: bigint, point: Point): Point {
  let [sum, rest]: [Point, Point] = [{ x: 0n, y: 1n }, point]
  for (let left = factor; left > 0n; left >>= 1n) {
    if (left & 1n) sum = add(sum, rest)
    rest = add(rest, rest)
  }
  return sum
}

function add(a: Point, b: Point): Point {
  const cross = mod(D * a.x * b.x * a.y * b.y)
  return {
    x: mod((a.x * b.y + b.x * a.y) * inverse(mod(1n + cross))),
    y: mod((a.y * b.y + a.x * b.x) * inverse(mod(1n - cross))),
  }
}

function mod(value: bigint): bigint {
  return ((value % P) + P) % P
}

function inverse(value: bigint): bigint {
  return power(value, P - 2n)
}

function power(base: bigint, exponent: bigint): bigint {
  let [result, square] = [1n, mod(base)]
  for (let left = exponent; left > 0n; left >>= 1n) {
    if (left & 1n) result = mod(result * square)
    square = mod(square * square)
  }
  return result
}

function sha512(...parts: readonly Uint8Array[]): Buffer {
  return createHash('sha512').update(Buffer.concat(parts)).digest()
}
