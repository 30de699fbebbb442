import { createHash } from 'node:crypto'
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import * as z from 'zod'
import { MayflyError, messageOf } from '../contract/error.ts'
import { checkpointSchema, type Checkpoint } from '../contract/evidence.ts'
import { serverUid } from '../contract/uids.ts'
import { TarReader } from '../images/tar.ts'
import { attempt } from '../lib/attempt.ts'
import { openDescriptor, piecesOf, readPlainFile } from '../lib/file-descriptor.ts'
import { makeFolder } from '../lib/make-folder.ts'
import { parseJson, tryParseJson } from '../lib/parse-json.ts'
import { signerFolder } from '../lib/state-folder.ts'
import { examinePath } from '../lib/trusted-path.ts'
import { ownEnvironment } from '../lib/own-path.ts'
import { lastSigned, restoreSigner } from '../warden/sign.ts'
import { runAs } from '../warden/step-down.ts'
import type { Globals } from './print.ts'
import { keysSchema, manifestName, backupManifestSchema, type Manifest } from './state-backup.ts'
import { checkStores, isStoreName, type StateCheck } from './state-check.ts'
import { outputOfOwner, stateFolderOf } from './state-owner.ts'

const entriesMax = 100
const manifestBytesMax = 2 ** 20
const ROOT = 0
const STICKY = 0o1000

interface Flags extends Globals {
  readonly keys?: string
  readonly newRecord?: boolean
}

/**
 * Fills a state folder from a backup: its stores are unpacked beside it, compared with the digests of the backup, checked as the
 * user that will use them, and moved into place at last. Throws MayflyError USAGE, STATE and CONFLICT; then nothing was changed.
 */
export async function restoreState(
  flags: Flags,
  file: string,
): Promise<Readonly<Record<string, unknown>>> {
  const state = stateFolderOf(flags)
  if (existsSync(state) && readdirSync(state).length > 0)
    throw new MayflyError('STATE', `Cannot restore to "${state}": it is not empty`, {
      hint: 'Stop the server and move the folder away, or name another one with --state.',
    })
  const keys = flags.keys === undefined ? undefined : readKeys(flags.keys)
  const staging = `${state}.restoring-${process.pid}`
  makeStaging(staging, state)
  try {
    assertOfRoot(resolve(staging), state)
    const manifest = unpack(file, staging)
    if (flags.newRecord) setRecordAside(staging)
    const checked = checkAsUser(staging, keys?.signed)
    const bad = checked.stores.find(({ ok }) => !ok)
    if (bad) throw damaged(file, `${bad.file}: ${bad.why}`)
    takeKeys(signerFolder(state), { keys, head: checked.signed, file })
    if (existsSync(state)) rmdirSync(state)
    renameSync(staging, state)
    return {
      restored: state,
      'backup of': `${manifest.at}, Mayfly ${manifest.version}`,
      stores: manifest.stores.length,
      record: checked.stores.find((one) => one.file === 'audit.db')?.why ?? 'none',
    }
  } catch (thrown) {
    rmSync(staging, { recursive: true, force: true })
    throw thrown instanceof MayflyError
      ? thrown
      : new MayflyError('STATE', `Cannot restore to "${state}": ${messageOf(thrown)}`, {
          cause: thrown,
        })
  }
}

function makeStaging(staging: string, state: string): void {
  const above = existingAbove(resolve(state))
  // In a sticky folder nobody else can move what root makes.
  if ((statSync(above).mode & STICKY) === 0) assertOfRoot(above, state)
  try {
    makeFolder(dirname(state), 0o755)
    mkdirSync(staging, { mode: 0o700 })
  } catch (cause) {
    throw new MayflyError('STATE', `Cannot restore to "${state}": ${messageOf(cause)}`, { cause })
  }
}

function existingAbove(path: string): string {
  const above = dirname(path)
  return above === path || existsSync(above) ? above : existingAbove(above)
}

/** Root unpacks, and gives to the server's uid, in no folder that another user could put a link in place of. */
function assertOfRoot(folder: string, state: string): void {
  if (process.getuid?.() !== ROOT) return
  const found = examinePath(folder, { owners: new Set([ROOT]), kind: 'folder' })
  if (found.isTrusted) return
  throw new MayflyError('STATE', `Cannot restore to "${state}" as root: ${found.reason}`, {
    hint: `${found.fix}; or restore as the user to whom it belongs`,
  })
}

function readKeys(file: string): z.infer<typeof keysSchema> {
  const text = attempt(() => readPlainFile(file))
  if (text === undefined) throw new MayflyError('USAGE', `Cannot read the keys "${file}"`)
  const read = keysSchema.safeParse(tryParseJson(text))
  if (read.success) return read.data
  throw new MayflyError('USAGE', `Cannot use "${file}": it is no key file of a backup`, {
    hint: '"mayfly state backup FILE --keys KEYFILE" writes one.',
  })
}

/** The record must end where its signer ends, or else nothing would be signed any more. */
function takeKeys(
  folder: string,
  of: {
    readonly keys: z.infer<typeof keysSchema> | undefined
    readonly head: Checkpoint | undefined
    readonly file: string
  },
): void {
  const { keys, head, file } = of
  const hasKey = existsSync(folder) && readdirSync(folder).length > 0
  if (keys) {
    if (hasKey)
      throw new MayflyError(
        'STATE',
        `Cannot restore the signing key: "${folder}" has one already`,
        {
          hint: 'Move that folder away; the key of the backup takes its place.',
        },
      )
    return restoreSigner(folder, keys.key, head)
  }
  const signed = hasKey ? lastSigned(folder) : undefined
  if (signed?.seq === head?.seq && signed?.head === head?.head) return
  throw new MayflyError(
    'CONFLICT',
    signed
      ? `Cannot go on with the record of "${file}": it is signed up to line ${head?.seq ?? 0}, and the key in "${folder}" has signed line ${signed.seq}`
      : `Cannot go on with the record of "${file}" without the key that signed it`,
    {
      hint: `Give --keys FILE${signed ? ' and move that folder away' : ''}; or --new-record${signed ? ', with that folder moved away,' : ''} begins another record and keeps this one as former-audit.db.`,
    },
  )
}

/** Keeps the record readable, with `mayfly audit verify FILE`. */
function setRecordAside(folder: string): void {
  rmSync(join(folder, 'former-audit.db'), { force: true })
  if (existsSync(join(folder, 'audit.db')))
    renameSync(join(folder, 'audit.db'), join(folder, 'former-audit.db'))
  rmSync(join(folder, 'audit.journal'), { force: true })
}

/** Root leaves the databases, which come from a server, to the server's uid, unless the server would be root there as well. */
function checkAsUser(folder: string, signed: Checkpoint | undefined): StateCheck {
  if (process.getuid?.() !== ROOT || !isReached(dirname(folder), serverUid))
    return checkStores(folder, signed)
  for (const name of readdirSync(folder)) chownSync(join(folder, name), serverUid, serverUid)
  chownSync(folder, serverUid, serverUid)
  const owner = { uid: serverUid, gid: serverUid }
  const words = ['state', 'check', '--json']
  const task = { state: folder, signed }
  const read = parseJson(outputOfOwner(owner, { task, words, stdout: 'pipe', isCheck: true }))
  return checkSchema.parse(read)
}

function isReached(folder: string, uid: number): boolean {
  const io = { stdout: 'pipe', stderr: 'pipe' } as const
  return runAs({ uid, gid: uid }, ['test', '-x', folder], ownEnvironment(), io).status === 0
}

const checkSchema = z.object({
  ok: z.boolean(),
  state: z.string(),
  signed: checkpointSchema.optional(),
  stores: z.array(
    z.object({
      file: z.string(),
      about: z.string(),
      bytes: z.number(),
      ok: z.boolean(),
      why: z.string(),
    }),
  ),
})

/** Unpacks the stores of an archive into a folder. Throws MayflyError STATE for what is no whole backup. */
function unpack(file: string, folder: string): Manifest {
  const taken: Taken = { text: [], files: new Map() }
  const reader = new TarReader(
    {
      entry: ({ kind, path, size }) => {
        if (kind !== 'file') throw new RangeError(`"${path}" is no plain file`)
        beginFile(taken, folder, path, size)
      },
      data: (bytes) => takeBytes(taken, bytes),
    },
    { entriesMax },
  )
  try {
    using archive = openDescriptor(file, 'r')
    for (const piece of piecesOf(archive)) reader.push(piece)
    reader.end()
  } catch (thrown) {
    throw damaged(file, messageOf(thrown), thrown)
  } finally {
    taken.open?.[Symbol.dispose]()
  }
  const read = backupManifestSchema.safeParse(tryParseJson(Buffer.concat(taken.text).toString()))
  if (!read.success) throw damaged(file, 'it has no manifest of a backup')
  const hexes = new Map([...taken.files].map(([name, hash]) => [name, hash.digest('hex')]))
  for (const { file: name, sha256 } of read.data.stores)
    if (hexes.get(name) !== sha256) throw damaged(file, `"${name}" is not as it was written`)
  if (hexes.size !== read.data.stores.length)
    throw damaged(file, 'it has files that its manifest does not name')
  return read.data
}

/** State of an unpacking: the manifest, and the file that is written now. */
interface Taken {
  readonly text: Buffer[]
  readonly files: Map<string, ReturnType<typeof createHash>>
  open?: ReturnType<typeof openDescriptor>
  name?: string
}

function beginFile(taken: Taken, folder: string, name: string, size: number): void {
  taken.open?.[Symbol.dispose]()
  delete taken.open
  taken.name = name
  if (name === manifestName) {
    if (size > manifestBytesMax) throw new RangeError('its manifest is too large')
    return
  }
  if (!isStoreName(name) || taken.files.has(name))
    throw new RangeError(`"${name}" is no store of a state folder`)
  taken.files.set(name, createHash('sha256'))
  taken.open = openDescriptor(join(folder, name), 'wx', 0o600)
}

function takeBytes({ open, text, files, name = '' }: Taken, bytes: Uint8Array): void {
  if (!open) return void text.push(Buffer.from(bytes))
  files.get(name)!.update(bytes)
  writeFileSync(open.fd, bytes)
}

function damaged(file: string, why: string, cause?: unknown): MayflyError {
  return new MayflyError('STATE', `Cannot restore "${file}": ${why}`, {
    hint: 'Take another backup of "mayfly state backup"; nothing was changed.',
    cause,
  })
}
