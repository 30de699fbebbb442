import { allControls } from '../contract/controls.ts'
import { networkOf } from '../contract/network.ts'
import type { Header } from './http-head.ts'
import { decide, type EgressRequest } from './rules.ts'

/**
 * Secret that a job may use without knowing it: inside the wall it is the placeholder `mayfly-secret:NAME`, and egress
 * replaces that placeholder in one header, for the credential's hosts only. The operator supplies the value.
 */
export interface Credential {
  readonly name: string
  /** Must never appear in a wall, log, event or outcome. */
  readonly value: string
  readonly header: string
  /** Host patterns as in allow rules: a bare name means https on port 443. */
  readonly hosts: readonly string[]
}

export type CredentialHeaders =
  | { readonly kind: 'placed'; readonly headers: readonly Header[]; readonly secrets: string[] }
  | { readonly kind: 'denied'; readonly because: string }

const placeholder = /mayfly-secret:([A-Za-z0-9_.-]{1,64})/g

/** Replaces placeholders by their values; a placeholder in another header or for another host denies the request. */
export function placeCredentials(
  headers: readonly Header[],
  request: EgressRequest,
  credentials: readonly Credential[],
): CredentialHeaders {
  const placed: Header[] = []
  for (const [header, value] of headers) {
    for (const [, name] of value.matchAll(placeholder)) {
      const credential = credentials.find((one) => one.name === name)
      const because = credential
        ? misplaced(credential, header, request)
        : `there is no credential "${name}"`
      if (because !== undefined) return { kind: 'denied', because }
    }
    placed.push([
      header,
      value.replace(placeholder, (_, name: string) => valueOf(credentials, name)),
    ])
  }
  // All secrets of this host, not only those placed now: the server may have kept others from earlier requests.
  const known = credentials.filter((credential) => isFor(credential, request))
  return { kind: 'placed', headers: placed, secrets: known.map(({ value }) => value) }
}

/** True if a credential applies to this target, so that its tunnel needs TLS inspection. */
export function isForCredentials(
  credentials: readonly Credential[],
  request: EgressRequest,
): boolean {
  return credentials.some((credential) => isFor(credential, request))
}

function valueOf(credentials: readonly Credential[], name: string): string {
  return credentials.find((one) => one.name === name)!.value
}

function misplaced(
  credential: Credential,
  header: string,
  request: EgressRequest,
): string | undefined {
  const { name } = credential
  if (header.toLowerCase() !== credential.header.toLowerCase())
    return `the credential "${name}" is not for the header "${header}"`
  return isFor(credential, request) ? undefined : `the credential "${name}" is not for this host`
}

function isFor({ hosts }: Credential, { scheme, host, port }: EgressRequest): boolean {
  const network = { ...allControls.network, ...networkOf({ allow: hosts }) }
  return decide(network, { scheme, host, port }).verdict === 'allowed'
}

/** Searches a stream for secrets, in clear and in base64, across chunk boundaries. */
export class SecretScan {
  readonly #wanted: readonly Buffer[]
  #tail = Buffer.alloc(0)
  readonly #tailBytes: number
  #heldBack = Buffer.alloc(0)

  /**
   * True if an encoded body must be refused. False for credentials of the upstream proxy alone, which it does not pass on:
   * all plain HTTP is searched for those, and some servers send archives with a coding.
   */
  readonly needsPlainText: boolean

  constructor(secrets: readonly string[], ofUpstream: readonly string[] = []) {
    this.needsPlainText = secrets.length > 0
    const forms = [...secrets, ...ofUpstream].flatMap((secret) => [secret, ...base64Forms(secret)])
    this.#wanted = [...new Set(forms)].map((form) => Buffer.from(form))
    this.#tailBytes = Math.max(0, ...this.#wanted.map(({ length }) => length - 1))
  }

  /** False without secrets to search for. */
  get isNeeded(): boolean {
    return this.#wanted.length > 0
  }

  /** True if one of the secrets is in these bytes alone. */
  isIn(bytes: Buffer): boolean {
    return this.#wanted.some((secret) => bytes.includes(secret))
  }

  /** True if a secret ends within this chunk. */
  finds(chunk: Buffer): boolean {
    if (chunk.length === 0) return false
    const bytes = Buffer.concat([this.#tail, chunk])
    this.#tail = Buffer.from(bytes.subarray(Math.max(0, bytes.length - this.#tailBytes)))
    return this.isIn(bytes)
  }

  /**
   * Returns the bytes safe to forward, including those held back earlier; undefined if a secret ends in them. The last
   * bytes are held back as long as they are printable, as a secret is, and shorter than one. That does not depend on
   * the secret: were only its prefixes held back, a guest could recover it byte by byte from guesses that a host
   * echoes, by where its answer is split.
   */
  filter(chunk: Buffer): Buffer | undefined {
    if (!this.isNeeded || chunk.length === 0) return chunk
    if (this.finds(chunk)) return undefined
    const bytes = Buffer.concat([this.#heldBack, chunk])
    const stop = Math.max(0, bytes.length - this.#tailBytes)
    let from = bytes.length
    while (from > stop && bytes[from - 1]! >= 0x20 && bytes[from - 1]! <= 0x7e) from--
    this.#heldBack = bytes.subarray(from)
    return bytes.subarray(0, from)
  }

  /**
   * Releases bytes held back while the stream is quiet, except for what continues half a secret or more, which no guest can
   * guess at once. Bytes released before count: a host may repeat a secret in pieces, with a pause after each.
   */
  release(): Buffer {
    const bytes = this.#heldBack
    const begun = this.#wanted.map((secret) => {
      const length = prefixAtEnd(this.#tail, secret)
      return length * 2 < secret.length ? 0 : length
    })
    const from = Math.max(0, bytes.length - Math.max(0, ...begun))
    this.#heldBack = bytes.subarray(from)
    return bytes.subarray(0, from)
  }

  /** Releases the bytes held back, once no more input can complete a secret. */
  flush(): Buffer {
    const bytes = this.#heldBack
    this.#heldBack = Buffer.alloc(0)
    return bytes
  }
}

/** Shorter forms are in other texts by chance. */
const formCharactersMin = 8

/** Base64 in both alphabets: alone, and the characters that are the secret's at each of three positions in a group. */
function base64Forms(secret: string): readonly string[] {
  const within = [0, 1, 2].map((at) => {
    const bytes = Buffer.from(`${'.'.repeat(at)}${secret}`)
    const end = Math.floor((bytes.length * 8) / 6)
    return bytes.toString('base64').slice(Math.ceil((at * 8) / 6), end)
  })
  const alone = Buffer.from(secret).toString('base64').replace(/=+$/, '')
  const all = [alone, ...within.filter((form) => form.length >= formCharactersMin)]
  return [...all, ...all.map((form) => form.replaceAll('+', '-').replaceAll('/', '_'))]
}

/** Length of the longest proper prefix of `secret` that ends `bytes`. */
function prefixAtEnd(bytes: Buffer, secret: Buffer): number {
  const from = Math.max(0, bytes.length - secret.length + 1)
  for (let at = from; (at = bytes.indexOf(secret[0]!, at)) >= 0; at++)
    if (bytes.subarray(at).equals(secret.subarray(0, bytes.length - at))) return bytes.length - at
  return 0
}
