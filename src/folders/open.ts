import { constants, renameSync, type Dirent } from 'node:fs'
import { lstat, open, opendir, rm, type FileHandle } from 'node:fs/promises'
import * as z from 'zod'
import { MayflyError } from '../contract/error.ts'
import type { Emitter } from '../contract/event.ts'
import { newId } from '../lib/id.ts'
import { isBelow } from '../lib/is-below.ts'
import { canonicalPath } from '../lib/real-path.ts'
import { usualBase64 } from '../lib/usual-base64.ts'
import { filesCapability, type FolderCalls, type FolderCallOptions } from '../walls/folder-calls.ts'
import {
  below,
  notFile,
  notGranted,
  ofHandle,
  openFile,
  openInner,
  openParent,
} from './open-beneath.ts'
import { tryParseJson } from '../lib/parse-json.ts'

const MIB = 2 ** 20
/** Maximum of one file in one call. */
const fileBytesMax = 3 * MIB
const entriesMax = 1000
const openMax = 16

const encoding = z.enum(['utf8', 'base64']).default('utf8')
const path = z.string().max(4096)
const asked = z.discriminatedUnion('verb', [
  z.strictObject({ verb: z.literal('read'), path, encoding }),
  z.strictObject({ verb: z.literal('write'), path, content: z.string(), encoding }),
  z.strictObject({ verb: z.literal('list'), path, encoding: encoding.optional() }),
])
type Asked = z.output<typeof asked>
type Verb = Asked['verb']

/** Never granted: these expose processes, devices and secrets in memory. */
const closedAlways = ['/proc', '/sys', '/dev'] as const

export interface FoldersParts extends FolderCallOptions {
  readonly emitter: Emitter
  /** Mayfly's own folders, excluded from every grant. */
  readonly closed: readonly string[]
  /** Folders that may be granted for reading alone. */
  readonly closedToWrites?: readonly string[]
}

/**
 * Serves granted host folders to a guest without files of its own: each call is checked against the controls in
 * force. Only path and bytes come from the guest.
 */
export function openFolders(parts: FoldersParts): FolderCalls {
  const { emitter, run, closed, closedToWrites = [], ...given } = parts
  let { files } = given.controls
  let writable = given.writtenMax
  let isOpen = 0

  // A closed folder may be made while the run lasts.
  const never = [...closedAlways, ...closed.map(canonicalPath)]
  const neverWritten = [...never, ...closedToWrites.map(canonicalPath)]
  const boundsFor = (verb: Verb) =>
    verb === 'write'
      ? { granted: files.write, closed: neverWritten }
      : { granted: files.read, closed: never }

  async function perform(request: Asked): Promise<unknown> {
    const bounds = boundsFor(request.verb)
    await using place = await openParent(request.path, bounds)
    if (request.verb === 'list') return await list(await openInner(place, bounds, request.path))
    if (request.verb === 'read')
      return await readAll(await openFile(place, request.path), request.encoding)
    if (place.name === undefined) throw notFile(request.path)
    const bytes = bytesOf(request)
    if (bytes.length > writable)
      throw new MayflyError(
        'TOO_LARGE',
        `Cannot write more than ${writable} bytes: its disk is full`,
      )
    writable -= bytes.length
    const draft = await draftOf(place.folder, place.name, bytes, request.path)
    try {
      // Race: the grant may have been revoked while the draft was written. Nothing revokes it between check and rename.
      if (!files.write.some((folder) => isBelow(request.path, folder)))
        throw notGranted(request.path)
      renameSync(draft, below(place.folder, place.name))
    } catch (thrown) {
      await rm(draft, { force: true })
      throw thrown
    }
    return bytes.length
  }

  return {
    async answer(text) {
      const read = asked.safeParse(tryParseJson(text))
      if (!read.success) throw new MayflyError('INVALID', 'Cannot read the request for a file')
      if (isOpen >= openMax)
        throw new MayflyError('RATE_LIMITED', `Cannot use more than ${openMax} files at once`)
      isOpen++
      try {
        const answer = await perform(read.data)
        // Access may have been revoked during the call: check again before giving anything. A file is written by now.
        if (read.data.verb !== 'write')
          await (await openParent(read.data.path, boundsFor(read.data.verb))).folder.close()
        return JSON.stringify(answer)
      } catch (thrown) {
        const why = thrown instanceof MayflyError ? thrown : hostError(thrown)
        const fields = { capability: filesCapability, verb: read.data.verb, because: why.code }
        if (why.code === 'FORBIDDEN')
          emitter.emit('capability/denied', fields, { run, actor: 'guest', trust: 'wall' })
        throw why
      } finally {
        isOpen--
      }
    },
    tighten(to) {
      files = to.files
    },
  }
}

async function readAll(file: FileHandle, as: 'utf8' | 'base64'): Promise<string> {
  await using _file = file
  const bytes = Buffer.alloc(fileBytesMax + 1)
  let length = 0
  for (;;) {
    const { bytesRead } = await file.read(bytes, length, bytes.length - length)
    length += bytesRead
    if (bytesRead === 0 || length > fileBytesMax) break
  }
  if (length > fileBytesMax) throw tooLarge()
  return bytes.toString(as, 0, length)
}

/** Writes a temporary file beside the file that it is to replace, and returns its path. */
async function draftOf(
  folder: FileHandle,
  name: string,
  bytes: Buffer,
  asked: string,
): Promise<string> {
  const before = await lstat(below(folder, name)).catch(() => undefined)
  if (before && !before.isFile()) throw notFile(asked)
  const draft = below(folder, `.${newId('mayfly')}`)
  const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants
  const file = await open(
    draft,
    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW,
    (before?.mode ?? 0o644) & 0o777,
  )
  try {
    await file.writeFile(bytes)
    await file.close()
    return draft
  } catch (thrown) {
    await file.close().catch(() => undefined)
    await rm(draft, { force: true })
    throw thrown
  }
}

async function list(folder: FileHandle): Promise<readonly object[]> {
  await using _folder = folder
  const entries: object[] = []
  for await (const entry of await opendir(ofHandle(folder))) {
    if (entries.length === entriesMax) throw tooLarge()
    entries.push({ name: entry.name, kind: kindOf(entry) })
  }
  return entries.sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))
}

function nameOf(entry: object): string {
  return (entry as { readonly name: string }).name
}

function kindOf(entry: Dirent): 'file' | 'folder' | 'other' {
  if (entry.isFile()) return 'file'
  return entry.isDirectory() ? 'folder' : 'other'
}

function bytesOf({ path, content, encoding }: Extract<Asked, { verb: 'write' }>): Buffer {
  const text = encoding === 'base64' ? usualBase64(content) : content
  if (text === undefined)
    throw new MayflyError('INVALID', `Cannot write "${path}": its content is no base64`)
  const bytes = Buffer.from(text, encoding)
  if (bytes.length > fileBytesMax) throw tooLarge()
  return bytes
}

function tooLarge(): MayflyError {
  return new MayflyError(
    'TOO_LARGE',
    `Cannot process it: more than ${fileBytesMax / MIB} MiB or ${entriesMax} entries`,
  )
}

/** Hides host error texts; passes the errno name only. */
function hostError(thrown: unknown): MayflyError {
  const { code = 'EIO' } = thrown as { readonly code?: string }
  return new MayflyError('INTERNAL', `Cannot use the file: ${code}`, { cause: thrown })
}
