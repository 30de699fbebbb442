import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as z from 'zod'
import about from '../../package.json' with { type: 'json' }
import { MayflyError, messageOf } from '../contract/error.ts'
import { checkpointSchema } from '../contract/evidence.ts'
import { openReadOnly } from '../evidence/open-readonly.ts'
import { openDescriptor, openToRead, piecesOf } from '../lib/file-descriptor.ts'
import { signerFolder } from '../lib/state-folder.ts'
import { assertPlainStore } from '../lib/store-file.ts'
import { tarEnd, tarEntry, tarHeaderBlock, tarPadding } from '../lib/tar.ts'
import { lastSigned, openKey } from '../warden/sign.ts'
import type { Globals } from './print.ts'
import { aboutOf, isDatabase, noState, storesIn } from './state-check.ts'
import {
  outputOfOwner,
  ownerTask,
  runAsOwner,
  stateFolderOf,
  strangerOwning,
} from './state-owner.ts'
import { writeWhole } from './write-parts.ts'

export const manifestName = 'manifest.json'
/** First file of a backup. */
export const backupManifestSchema = z.strictObject({
  format: z.literal(1),
  kind: z.literal('mayfly-state'),
  version: z.string(),
  /** Time of the backup. */
  at: z.string(),
  stores: z
    .array(
      z.strictObject({
        file: z.string(),
        about: z.string(),
        bytes: z.number().int().min(0),
        sha256: z.string(),
      }),
    )
    .max(100),
})
export type Manifest = z.infer<typeof backupManifestSchema>

/** File of `--keys`: the private key that signs the record, and the last head that it signed before the backup. */
export const keysSchema = z.strictObject({
  format: z.literal(1),
  kind: z.literal('mayfly-keys'),
  key: z.string(),
  signed: checkpointSchema.optional(),
})

const staged = /^backup-\w{6}$/
const staleMs = 86_400_000

/**
 * Writes a backup, each store as it is at one moment; `-` writes to stdout. Undefined if the summary would be in the way of the
 * archive. Throws MayflyError NOT_FOUND and STATE.
 */
export async function backUp(
  flags: Globals & { readonly keys?: string },
  file: string,
): Promise<Readonly<Record<string, unknown>> | undefined> {
  const task = ownerTask()
  const state = stateFolderOf(flags)
  if (!existsSync(state)) throw noState(state)
  if (task) {
    writeArchive(state, process.stdout.fd)
    return undefined
  }
  for (const one of [file, flags.keys])
    if (one !== undefined && one !== '-' && existsSync(one))
      throw new MayflyError('STATE', `Cannot write "${one}": it is there already`, {
        hint: 'Name a new file',
      })
  // Before the record, which only grows.
  if (flags.keys !== undefined) await writeKeys(flags.keys, signerFolder(state))
  const owner = strangerOwning(state)
  if (file === '-') {
    if (owner) runAsOwner(owner, { state })
    else writeArchive(state, process.stdout.fd)
    return undefined
  }
  const words = ['state', 'backup', '-']
  await writeWhole(file, async (out) => {
    if (owner) outputOfOwner(owner, { task: { state }, words, stdout: out })
    else writeArchive(state, out)
  })
  const { size } = statSync(file)
  return {
    backup: file,
    bytes: size,
    ...(flags.keys !== undefined && { keys: `${flags.keys} (secret: keep it elsewhere)` }),
    ...(flags.keys === undefined && {
      keys: 'not in it: --keys FILE writes the key that signs the record',
    }),
  }
}

async function writeKeys(file: string, folder: string): Promise<void> {
  const signed = lastSigned(folder)
  const key = openKey(folder).export({ type: 'pkcs8', format: 'pem' })
  const document = { format: 1, kind: 'mayfly-keys', key, ...(signed && { signed }) }
  await writeWhole(file, async (out) =>
    writeFileSync(out, Buffer.from(`${JSON.stringify(document)}\n`)),
  )
}

function writeArchive(state: string, out: number): void {
  removeStale(state)
  const folder = mkdtempSync(join(state, 'backup-'))
  try {
    const stores = storesIn(state).map((file) => {
      copyStore(join(state, file), join(folder, file))
      return { file, about: aboutOf(file), ...factsOf(join(folder, file)) }
    })
    const at = new Date()
    const manifest: Manifest = {
      format: 1,
      kind: 'mayfly-state',
      version: about.version,
      at: at.toISOString(),
      stores,
    }
    const text = Buffer.from(`${JSON.stringify(manifest, undefined, 2)}\n`)
    const first = { path: manifestName, bytes: text, modifiedMs: at.getTime() }
    for (const part of tarEntry(first)) writeFileSync(out, part)
    for (const { file, bytes } of stores) appendFile(out, join(folder, file), file, bytes, at)
    writeFileSync(out, tarEnd)
  } catch (thrown) {
    if (thrown instanceof MayflyError) throw thrown
    throw new MayflyError('STATE', `Cannot back up "${state}": ${messageOf(thrown)}`, {
      hint: '"mayfly state check" names a store that is damaged; a backup needs as much free space as the stores have.',
      cause: thrown,
    })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Copies that a killed backup left. */
function removeStale(state: string): void {
  for (const name of readdirSync(state)) {
    const path = join(state, name)
    if (staged.test(name) && statSync(path).mtimeMs < Date.now() - staleMs)
      rmSync(path, { recursive: true, force: true })
  }
}

/** VACUUM INTO reads one snapshot while others write, and leaves out what was deleted. */
function copyStore(from: string, to: string): void {
  assertPlainStore(from)
  if (isDatabase(from)) {
    using db = openReadOnly(from)
    db.prepare('VACUUM INTO ?').run(to)
    return
  }
  using source = openToRead(from)
  using target = openDescriptor(to, 'wx', 0o600)
  for (const piece of piecesOf(source)) writeFileSync(target.fd, piece)
}

function factsOf(path: string): { readonly bytes: number; readonly sha256: string } {
  using file = openDescriptor(path, 'r')
  const hash = createHash('sha256')
  let bytes = 0
  for (const piece of piecesOf(file)) {
    hash.update(piece)
    bytes += piece.length
  }
  return { bytes, sha256: hash.digest('hex') }
}

function appendFile(out: number, path: string, name: string, size: number, at: Date): void {
  const seconds = Math.floor(at.getTime() / 1000)
  writeFileSync(
    out,
    tarHeaderBlock(name, { mode: 0o600, size, type: '0', seconds, magic: 'ustar\x0000' }),
  )
  using file = openDescriptor(path, 'r')
  for (const piece of piecesOf(file)) writeFileSync(out, piece)
  writeFileSync(out, tarPadding(size))
}
