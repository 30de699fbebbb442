import { createHmac } from 'node:crypto'
import { crc32 } from 'node:zlib'

/**
 * Secrets that are none: made for one run, planted where thieves look, and used by nobody who has no business there.
 * They are made of a key and the run, so that nothing need be kept and no two runs have the same; they look like what
 * they stand for, with the characters and the check digits that such secrets have, and open nothing.
 */
export interface Honeytoken {
  /** What it is called in findings. */
  readonly id: string
  readonly secret: string
  /** Where it is planted: a variable of the environment, and a file below the home folder. */
  readonly env?: string
  readonly file?: { readonly path: string; readonly content: string }
}

/** The tokens of one run. The same key and run give the same ones. */
export function honeytokensFor(key: Uint8Array, run: string): readonly Honeytoken[] {
  const word = (name: string, length: number, letters = base62) =>
    wordOf(key, `${run}\n${name}`, length, letters)
  const cloudId = `AKIA${word('cloud-id', 16, base32)}`
  const cloud = word('cloud', 40)
  const forge = `ghp_${checked(word('forge', 30))}`
  const database = word('database', 24)
  return [
    {
      id: 'cloud-key',
      secret: cloud,
      env: 'AWS_SECRET_ACCESS_KEY',
      file: {
        path: '.aws/credentials',
        content: `[default]\naws_access_key_id = ${cloudId}\naws_secret_access_key = ${cloud}\n`,
      },
    },
    {
      id: 'forge-token',
      secret: forge,
      env: 'GITHUB_TOKEN',
      file: {
        path: '.git-credentials',
        content: `https://deploy:${forge}@github.com\n`,
      },
    },
    { id: 'database-password', secret: database, env: 'DATABASE_PASSWORD' },
  ]
}

const base32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
const base62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const checkDigits = 6

/** With what anybody can tell a mistyped token by: a checksum in six digits to the base 62. */
function checked(word: string): string {
  let digits = ''
  for (let rest = crc32(word); digits.length < checkDigits; rest = Math.floor(rest / base62.length))
    digits = base62[rest % base62.length]! + digits
  return word + digits
}

/** Letters and digits, the same for the same text. */
function wordOf(key: Uint8Array, text: string, length: number, letters: string): string {
  let word = ''
  for (let block = 0; word.length < length; block++) {
    const bytes = createHmac('sha256', key).update(`${text}\n${block}`).digest()
    for (const byte of bytes) word += letters[byte % letters.length]
  }
  return word.slice(0, length)
}

/**
 * Looks for tokens in a stream that comes in pieces: as they are, backwards, in hexadecimal, and in base64 at each of
 * the three places where it may begin. It keeps as much of the end of what it saw as a token could begin in. What is
 * enciphered, packed or cut into parts is not found.
 */
export class TokenScanner {
  readonly #needles: readonly { readonly id: string; readonly bytes: Buffer }[]
  readonly #keep: number
  #tail: Buffer = Buffer.alloc(0)

  constructor(tokens: readonly Pick<Honeytoken, 'id' | 'secret'>[]) {
    this.#needles = tokens.flatMap(({ id, secret }) =>
      formsOf(secret).map((form) => ({ id, bytes: Buffer.from(form) })),
    )
    this.#keep = Math.max(0, ...this.#needles.map(({ bytes }) => bytes.length - 1))
  }

  /** The ids of the tokens that this piece makes whole, each once. */
  scan(piece: Uint8Array): readonly string[] {
    const all = Buffer.concat([this.#tail, piece])
    const found = this.#needles.filter(({ bytes }) => all.includes(bytes)).map(({ id }) => id)
    this.#tail = Buffer.from(all.subarray(Math.max(0, all.length - this.#keep)))
    return [...new Set(found)]
  }
}

function formsOf(secret: string): readonly string[] {
  const bytes = Buffer.from(secret)
  const hex = bytes.toString('hex')
  return [
    secret,
    Array.from(secret).toReversed().join(''),
    hex,
    hex.toUpperCase(),
    ...[0, 1, 2].flatMap((shift) => {
      // The first and the last characters depend on what stands beside the secret.
      const text = Buffer.concat([Buffer.alloc(shift), bytes]).toString('base64')
      const core = text.replace(/=+$/, '').slice(shift === 0 ? 0 : shift + 1, -2)
      return [core, core.replaceAll('+', '-').replaceAll('/', '_')]
    }),
  ]
}
