import { createHmac } from 'node:crypto'

/**
 * Honeytokens: fake secrets for one run, planted where credential stealers search. Derived by HMAC from a key and the run
 * id, so that they need no storage and differ between runs. They have the alphabet and check digits of real secrets, and
 * give access to nothing.
 */
export interface Honeytoken {
  /** Name in findings. */
  readonly id: string
  readonly secret: string
  /** Environment variable and file in the home folder that carry it. */
  readonly env?: string
  readonly file?: { readonly path: string; readonly content: string }
}

/** Tokens of one run; deterministic for key and run. */
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

/** Appends the checksum by which scanners recognise such tokens: CRC-32 in six base-62 digits. */
function checked(word: string): string {
  let digits = ''
  for (
    let rest = process.getBuiltinModule('node:zlib').crc32(word);
    digits.length < checkDigits;
    rest = Math.floor(rest / base62.length)
  )
    digits = base62[rest % base62.length]! + digits
  return word + digits
}

/** Deterministic text from HMAC output. */
function wordOf(key: Uint8Array, text: string, length: number, letters: string): string {
  let word = ''
  for (let block = 0; word.length < length; block++) {
    const bytes = createHmac('sha256', key).update(`${text}\n${block}`).digest()
    for (const byte of bytes) word += letters[byte % letters.length]
  }
  return word.slice(0, length)
}

/**
 * Searches a stream for tokens across chunk boundaries: plain, reversed, hexadecimal, base64 and base32 at all
 * alignments, and in lower case as names are asked for; also without white space and colons, because encoders wrap their
 * lines (`base64` after 76 characters, `xxd -p` after 60) and separate bytes. Encrypted, compressed or otherwise split
 * tokens are not found.
 */
export class TokenScanner {
  readonly #needles: readonly { readonly id: string; readonly bytes: Buffer }[]
  readonly #keep: number
  /** Ends of the stream: as it is, and without separators. */
  readonly #tails: [Buffer, Buffer] = [Buffer.alloc(0), Buffer.alloc(0)]

  constructor(tokens: readonly Pick<Honeytoken, 'id' | 'secret'>[]) {
    this.#needles = tokens.flatMap(({ id, secret }) =>
      formsOf(secret).map((form) => ({ id, bytes: Buffer.from(form) })),
    )
    this.#keep = Math.max(0, ...this.#needles.map(({ bytes }) => bytes.length - 1))
  }

  /** Ids of tokens completed by this chunk, each once. */
  scan(piece: Uint8Array): readonly string[] {
    return [...new Set([...this.#find(0, piece), ...this.#find(1, withoutSeparators(piece))])]
  }

  #find(stream: 0 | 1, piece: Uint8Array): readonly string[] {
    const all = Buffer.concat([this.#tails[stream], piece])
    this.#tails[stream] = Buffer.from(all.subarray(Math.max(0, all.length - this.#keep)))
    return this.#needles.filter(({ bytes }) => all.includes(bytes)).map(({ id }) => id)
  }
}

const [space, colon, backslash] = Buffer.from(' :\\')
const escaped = new Set(Buffer.from('nrt'))

/** A loop over bytes, because a replacement in text takes a second for 16 MiB. In JSON a line break is escaped. */
function withoutSeparators(piece: Uint8Array): Uint8Array {
  const kept = Buffer.allocUnsafe(piece.length)
  let length = 0
  for (let at = 0; at < piece.length; at++) {
    const byte = piece[at]!
    if (byte === backslash && escaped.has(piece[at + 1] ?? 0)) at++
    else if (byte > space! && byte !== colon) kept[length++] = byte
  }
  return kept.subarray(0, length)
}

function formsOf(secret: string): readonly string[] {
  const bytes = Buffer.from(secret)
  const hex = bytes.toString('hex')
  return [
    secret,
    secret.toLowerCase(),
    Array.from(secret).toReversed().join(''),
    hex,
    hex.toUpperCase(),
    ...[0, 1, 2].flatMap((shift) => {
      // Base64 characters at both ends also depend on the neighbouring bytes.
      const text = Buffer.concat([Buffer.alloc(shift), bytes]).toString('base64')
      const core = text.replace(/=+$/, '').slice(shift === 0 ? 0 : shift + 1, -2)
      return [core, core.replaceAll('+', '-').replaceAll('/', '_')]
    }),
    ...[0, 1, 2, 3, 4].flatMap((shift) => {
      const core = base32Core(bytes, shift)
      return [core, core.toLowerCase()]
    }),
  ]
}

/** Base32 of bytes that follow `shift` others, without the characters at both ends that depend on the neighbours. */
function base32Core(bytes: Buffer, shift: number): string {
  const all = Buffer.concat([Buffer.alloc(shift), bytes])
  const bits = Array.from(all, (byte) => byte.toString(2).padStart(8, '0')).join('')
  const fives = bits.match(/.{5}/g) ?? []
  const text = fives.map((five) => base32[Number.parseInt(five, 2)]).join('')
  return text.slice(Math.ceil((shift * 8) / 5))
}
