import { lstatSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { attempt } from '../../lib/attempt.ts'
import type { Owner } from '../../lib/owner.ts'
import { readPrivate } from '../../lib/private-file.ts'
import { tryParseJson } from '../../lib/parse-json.ts'
import { isBelow } from '../../lib/is-below.ts'
import { realPath } from '../../lib/real-path.ts'

/** Subfolder of the state folder with a record and a socket of each server for `mayfly run`. Mode 0700. */
export const localFolder = (state: string): string => join(state, 'attach')

/** Record of a server that accepts jobs of the same user's `mayfly run`. Its file has mode 0600, because of the secret. */
export interface ServerRecord {
  readonly format: 1
  readonly name: string
  /** `serve` was started by a person or a service manager, `left` by a run. */
  readonly kind: ServerKind
  readonly owner: Owner
  /** Parent process, which exits last. */
  readonly warden: Owner
  readonly version: string
  /** Hex; proves either side to the other, and is never sent. */
  readonly secret: string
  /** Name of the socket in the same folder. */
  readonly socket: string
}

export type ServerKind = 'serve' | 'left'

/** Line that a server left behind by a run prints when it accepts jobs. */
export const readyLine = 'ready'

/** sockaddr_un has 108 bytes, the last one NUL. */
const SOCKET_PATH_BYTES_MAX = 107
/** Suffix that `--file FOLDER` omits, as for private keys. */
const SUFFIX = '.key'

export const recordFile = (folder: string, name: string): string => join(folder, `${name}${SUFFIX}`)

/** True for a folder of this user without access for others; false for a symbolic link, whatever its owner. */
export function isPrivateFolder(folder: string): boolean {
  const facts = lstatSync(folder, { throwIfNoEntry: false })
  return (
    facts?.isDirectory() === true && facts.uid === process.geteuid?.() && (facts.mode & 0o077) === 0
  )
}

/** Folders that walls mount partly for guests, in addition to Mayfly's own folder and its cache. */
const SHOWN = ['/usr', '/lib', '/lib64', '/bin', '/sbin', '/etc', '/var/cache/mayfly']
const OWN_SHOWN = ['guest', 'src', 'node_modules'].map((name) =>
  fileURLToPath(new URL(`../../../${name}`, import.meta.url)),
)

/** True if a guest might read a folder, which then must not contain secrets. */
export function isShownToGuests(folder: string): boolean {
  const real = realPath(folder)
  return [...SHOWN, ...OWN_SHOWN].some((one) => isBelow(real, one))
}

/** Path of a socket; undefined if it exceeds sockaddr_un. */
export function socketPath(folder: string, socket: string): string | undefined {
  const path = join(folder, socket)
  return Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX ? undefined : path
}

/** Record of a server; undefined if there is none, or if its folder or file is open to others. */
export function readRecord(folder: string, name: string): ServerRecord | undefined {
  if (!isPrivateFolder(folder)) return undefined
  return attempt(() => recordIn(readPrivate(recordFile(folder, name))))
}

export function recordsIn(folder: string): readonly ServerRecord[] {
  if (!isPrivateFolder(folder)) return []
  return readdirSync(folder)
    .filter((file) => file.endsWith(SUFFIX))
    .flatMap((file) => readRecord(folder, file.slice(0, -SUFFIX.length)) ?? [])
}

const SECRET = /^[0-9a-f]{64}$/
const SOCKET = /^[0-9a-f]{16}\.sock$/

/** Parses a record; undefined if this version did not write it. */
export function recordIn(text: string | undefined): ServerRecord | undefined {
  const record = tryParseJson(text ?? '') as Partial<ServerRecord> | null | undefined
  const isOurs =
    record?.format === 1 &&
    typeof record.owner?.pid === 'number' &&
    typeof record.warden?.pid === 'number' &&
    SECRET.test(record.secret ?? '') &&
    SOCKET.test(record.socket ?? '')
  return isOurs ? (record as ServerRecord) : undefined
}
