import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  type KeyObject,
  verify,
} from 'node:crypto'
import { chmodSync, existsSync, lstatSync, readFileSync } from 'node:fs'
import { closeSync, fsyncSync, linkSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { MayflyError, messageOf } from '../contract/error.ts'
import { checkpointSchema, checkpointStatement, type Checkpoint } from '../contract/evidence.ts'
import { attempt } from '../lib/attempt.ts'
import { chainStart, chainStep } from '../lib/hash-chain.ts'
import { makeFolder } from '../lib/make-folder.ts'
import { parseJson } from '../lib/parse-json.ts'
import { assertPlainStore, claimStoreFile } from '../lib/store-file.ts'

/**
 * Signs the record's checkpoints, and only a head that extends the last one it signed: it receives digests, chains them
 * itself, and stores the last signed head beside its key. A compromised server can forge later lines, but cannot change
 * signed ones.
 *
 * The head is in a small SQLite file, because several wardens may share one state folder: read, sign and write are one
 * transaction under a lock, and a torn write is rolled back. A checkpoint is on the disk before it is returned.
 */
export interface HeadSigner {
  /** Base64 of the 32 raw bytes. */
  readonly publicKey: string
  /**
   * `digests` are those of the lines from `from.seq + 1` on, at most `digestsMax`. If `from` is older than the last
   * signed head, the chain must pass through that head. `at` is the warden's own time. Throws MayflyError CONFLICT if
   * the chain does not extend the signed head, INVALID if `digests` is malformed.
   */
  sign(digests: readonly string[], from: SignedHead, at: number): Checkpoint
  close(): void
}

export interface SignedHead {
  readonly seq: number
  readonly head: string
}

/** Lines in one checkpoint at most; a longer tail takes several. */
export const digestsMax = 4096
const lockWaitMs = 2000
/** Name of the key in its folder. */
export const keyFile = 'checkpoint.key'
const memoryFile = 'signed.db'

/** Opens the signer of a state folder; creates folder (0700) and key (0600) on first use. */
export function openSigner(folder: string): HeadSigner {
  const key = openKey(folder)
  const publicKey = rawPublicHalf(key)
  const memory = openMemory(folder)
  assertOwnMemory(readMemory(memory), publicKey, folder)
  return {
    publicKey,
    sign: (digests, from, at) => signNext({ key, publicKey, memory }, digests, from, at),
    close: () => memory.close(),
  }
}

/** Last head that the signer of `folder` signed, for audits; undefined before the first. Writes nothing. */
export function lastSigned(folder: string): Checkpoint | undefined {
  const path = join(folder, memoryFile)
  if (!existsSync(path)) return undefined
  try {
    assertPlainStore(path)
    using memory = new DatabaseSync(path, { readOnly: true, timeout: lockWaitMs })
    return readMemory(memory)
  } catch (thrown) {
    throw broken('read', path, thrown)
  }
}

/**
 * Makes the signer of a new folder from a key and the newest checkpoint of its record. Throws MayflyError STATE if the folder has a
 * key, and USAGE unless the key signed the checkpoint.
 */
export function restoreSigner(folder: string, pem: string, newest: Checkpoint | undefined): void {
  const key = attempt(() => createPrivateKey(pem))
  if (key?.asymmetricKeyType !== 'ed25519')
    throw new MayflyError('USAGE', 'Cannot restore the signing key: it is no Ed25519 key')
  if (newest && !isSignedBy(key, newest))
    throw new MayflyError('USAGE', 'Cannot restore the signing key: another key signed the record')
  if (existsSync(join(folder, keyFile))) throw broken('replace', join(folder, keyFile), 'it exists')
  makeFolder(folder, 0o700)
  assertOurs(folder)
  writeKey(folder, join(folder, keyFile), key)
  using memory = openMemory(folder)
  if (newest) remember(memory, newest)
}

function isSignedBy(key: KeyObject, { signature, ...parts }: Checkpoint): boolean {
  const statement = Buffer.from(checkpointStatement(parts))
  return (
    parts.key === rawPublicHalf(key) &&
    verify(null, statement, createPublicKey(key), Buffer.from(signature, 'base64'))
  )
}

interface Parts {
  readonly key: KeyObject
  readonly publicKey: string
  readonly memory: DatabaseSync
}

function signNext(
  parts: Parts,
  digests: readonly string[],
  from: SignedHead,
  at: number,
): Checkpoint {
  assertAsked(digests, from, at)
  parts.memory.exec('BEGIN IMMEDIATE')
  try {
    const next = { ...extended(readMemory(parts.memory), digests, from), at, key: parts.publicKey }
    const signature = sign(null, Buffer.from(checkpointStatement(next)), parts.key)
    const checkpoint: Checkpoint = { format: 1, ...next, signature: signature.toString('base64') }
    remember(parts.memory, checkpoint)
    parts.memory.exec('COMMIT')
    return checkpoint
  } catch (thrown) {
    if (parts.memory.isTransaction) parts.memory.exec('ROLLBACK')
    throw thrown
  }
}

/** The head after the digests; throws unless it is or extends the head signed last. */
function extended(
  last: Checkpoint | undefined,
  digests: readonly string[],
  from: SignedHead,
): SignedHead {
  const signed: SignedHead = last ?? { seq: 0, head: chainStart }
  let { seq, head } = from
  let extendsLast = seq === signed.seq && head === signed.head
  for (const digest of digests) {
    head = chainStep(head, digest)
    seq += 1
    extendsLast ||= seq === signed.seq && head === signed.head
  }
  if (extendsLast) return { seq, head }
  throw new MayflyError(
    'CONFLICT',
    `Cannot sign line "${seq}": it does not extend line "${signed.seq}", which was signed last`,
    { hint: 'The log was changed or replaced after it was signed: run "mayfly audit verify".' },
  )
}

function assertAsked(digests: readonly string[], from: SignedHead, at: number): void {
  const hex = /^[0-9a-f]{64}$/
  const good =
    Array.isArray(digests) &&
    digests.length <= digestsMax &&
    digests.every((digest) => typeof digest === 'string' && hex.test(digest)) &&
    Number.isSafeInteger(from.seq) &&
    from.seq >= 0 &&
    typeof from.head === 'string' &&
    hex.test(from.head) &&
    Number.isSafeInteger(at)
  if (!good)
    throw new MayflyError(
      'INVALID',
      'Cannot sign a checkpoint: the request is not a list of line digests',
    )
}

/** Signing key of a state folder; creates folder (0700) and key (0600) on first use. Throws MayflyError STATE. */
export function openKey(folder: string): KeyObject {
  const path = join(folder, keyFile)
  try {
    makeFolder(folder, 0o700)
    assertOurs(folder)
    chmodSync(folder, 0o700)
    if (!existsSync(path)) createKey(folder, path)
    return createPrivateKey(readFileSync(path))
  } catch (thrown) {
    throw broken('open', path, thrown)
  }
}

/** Throws unless the folder belongs to this user: another owner may know the key in it. */
function assertOurs(folder: string): void {
  const facts = lstatSync(folder)
  if (facts.isDirectory() && facts.uid === (process.getuid?.() ?? facts.uid)) return
  throw new Error(`"${folder}" is not a folder of this user`)
}

/** Written under a temporary name and then hard-linked, so that of two concurrent starts the first wins. */
function createKey(folder: string, path: string): void {
  writeKey(folder, path, generateKeyPairSync('ed25519').privateKey)
}

function writeKey(folder: string, path: string, privateKey: KeyObject): void {
  const draft = `${path}.${process.pid}`
  rmSync(draft, { force: true })
  const file = openSync(draft, 'wx', 0o600)
  writeSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }))
  fsyncSync(file)
  closeSync(file)
  try {
    linkSync(draft, path)
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'EEXIST') throw thrown
  } finally {
    rmSync(draft, { force: true })
  }
  const directory = openSync(folder, 'r')
  fsyncSync(directory)
  closeSync(directory)
}

/** Base64 of the 32 raw bytes of its public half. */
export function rawPublicHalf(key: KeyObject): string {
  const { x } = createPublicKey(key).export({ format: 'jwk' })
  return Buffer.from(x ?? '', 'base64url').toString('base64')
}

function openMemory(folder: string): DatabaseSync {
  const path = join(folder, memoryFile)
  try {
    claimStoreFile(path)
    const memory = new DatabaseSync(path, { timeout: lockWaitMs })
    memory.exec('PRAGMA synchronous = EXTRA')
    memory.exec(
      'CREATE TABLE IF NOT EXISTS signed (id INTEGER PRIMARY KEY CHECK (id = 1), checkpoint TEXT NOT NULL) STRICT',
    )
    readMemory(memory)
    return memory
  } catch (thrown) {
    throw broken('open', path, thrown)
  }
}

function assertOwnMemory(last: Checkpoint | undefined, key: string, folder: string): void {
  if (last && last.key !== key) throw broken('open', folder, 'the key is not the one that signed')
}

function readMemory(memory: DatabaseSync): Checkpoint | undefined {
  const row = memory.prepare('SELECT checkpoint FROM signed WHERE id = 1').get()
  return row ? checkpointSchema.parse(parseJson(String(row['checkpoint']))) : undefined
}

function remember(memory: DatabaseSync, checkpoint: Checkpoint): void {
  memory.prepare('INSERT OR REPLACE INTO signed VALUES (1, ?)').run(JSON.stringify(checkpoint))
}

function broken(action: string, path: string, cause: unknown): MayflyError {
  return new MayflyError('STATE', `Cannot ${action} "${path}": ${messageOf(cause)}`, {
    hint: 'Without its key and memory nothing is signed; restore both from one backup, or remove the folder and the log together.',
    cause,
  })
}
