import { allControls } from '../contract/controls.ts'
import { MayflyError } from '../contract/error.ts'
import { networkOf } from '../contract/network.ts'
import type { Header } from './head.ts'
import { decide, type EgressRequest } from './rules.ts'

/**
 * A secret that a job may use without ever holding it: inside, `mayfly-secret:NAME` stands for it; on the way out it is
 * put in, in one header, for the hosts that it is for. The value comes from whoever runs the server.
 */
export interface Credential {
  /** As in `mayfly-secret:NAME`. */
  readonly name: string
  /** Never in a wall, a log, an event or an outcome. */
  readonly value: string
  readonly header: string
  /** Written as hosts to allow are: a bare one is https on port 443. */
  readonly hosts: readonly string[]
}

export type Placed =
  | { readonly kind: 'placed'; readonly headers: readonly Header[]; readonly secrets: string[] }
  | { readonly kind: 'denied'; readonly because: string }

const NAME = /^[A-Za-z0-9_.-]{1,64}$/
const placeholder = /mayfly-secret:([A-Za-z0-9_.-]{1,64})/g

/** Refuses credentials that could not be put in as they stand. Throws MayflyError CONFIG, without the value. */
export function checkCredentials(credentials: readonly Credential[]): void {
  for (const { name, value, header, hosts } of credentials) {
    const wrong = (what: string) =>
      new MayflyError('CONFIG', `Cannot use the credential "${name}": ${what}`)
    if (!NAME.test(name)) throw wrong('its name is not 64 letters, digits, ".", "_" or "-"')
    if (!/^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(value))
      throw wrong('its value is empty or cannot stand in a header')
    if (!/^[A-Za-z0-9-]{1,100}$/.test(header) || ownHeader.test(header))
      throw wrong(`it cannot be put into the header "${header}"`)
    if (hosts.length === 0) throw wrong('it names no host')
    networkOf({ allow: hosts })
  }
}

const ownHeader =
  /^(host|connection|content-length|transfer-encoding|upgrade|te|trailer|expect|accept-encoding|proxy-.*)$/i

/** Puts credentials where their placeholders stand; a placeholder that has no business there denies the request. */
export function placeCredentials(
  headers: readonly Header[],
  request: EgressRequest,
  credentials: readonly Credential[],
): Placed {
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
  // All that this host could know, not only what it is told now: it may have kept it.
  const known = credentials.filter((credential) => isFor(credential, request))
  return { kind: 'placed', headers: placed, secrets: known.map(({ value }) => value) }
}

/** Whether a credential is for this place, so that a tunnel to it has to be looked into. */
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

/** Finds secrets, also over the edges of chunks, as they are and in base64. */
export class SecretScan {
  readonly #secrets: readonly string[]
  readonly #wanted: readonly Buffer[]
  #tail = Buffer.alloc(0)
  readonly #tailBytes: number
  #kept = Buffer.alloc(0)

  constructor(secrets: readonly string[]) {
    this.#secrets = secrets
    this.#wanted = secrets.flatMap((secret) => [
      Buffer.from(secret),
      Buffer.from(Buffer.from(secret).toString('base64').replace(/=+$/, '')),
    ])
    this.#tailBytes = Math.max(0, ...this.#wanted.map(({ length }) => length - 1))
  }

  /** Whether there is anything to find. */
  get isNeeded(): boolean {
    return this.#wanted.length > 0
  }

  /** One for the same secrets that has seen nothing yet. */
  alone(): SecretScan {
    return new SecretScan(this.#secrets)
  }

  /** Whether a secret ends in these bytes. */
  finds(chunk: Buffer): boolean {
    if (!this.isNeeded) return false
    const bytes = Buffer.concat([this.#tail, chunk])
    this.#tail = Buffer.from(bytes.subarray(Math.max(0, bytes.length - this.#tailBytes)))
    return this.#wanted.some((secret) => bytes.includes(secret))
  }

  /**
   * What may be passed on of these bytes and what was kept; undefined where a secret ends in them. The end of them is kept
   * while it is how a secret begins: whoever gets all but its last byte has it.
   */
  pass(chunk: Buffer): Buffer | undefined {
    if (!this.isNeeded) return chunk
    if (this.finds(chunk)) return undefined
    const bytes = Buffer.concat([this.#kept, chunk])
    const begun = Math.max(...this.#wanted.map((secret) => begunIn(bytes, secret)))
    this.#kept = bytes.subarray(bytes.length - begun)
    return bytes.subarray(0, bytes.length - begun)
  }

  /** What was kept, where nothing comes that could make a secret of it. */
  rest(): Buffer {
    const kept = this.#kept
    this.#kept = Buffer.alloc(0)
    return kept
  }
}

/** With how many bytes of a secret, and not all of it, these bytes end. */
function begunIn(bytes: Buffer, secret: Buffer): number {
  const from = Math.max(0, bytes.length - secret.length + 1)
  for (let at = from; (at = bytes.indexOf(secret[0]!, at)) >= 0; at++)
    if (bytes.subarray(at).equals(secret.subarray(0, bytes.length - at))) return bytes.length - at
  return 0
}
