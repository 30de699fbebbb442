import { createHash, randomBytes } from 'node:crypto'
import { constants, existsSync } from 'node:fs'
import { access, lstat, mkdir, open, rename, unlink, type FileHandle } from 'node:fs/promises'
import { MayflyError } from '../contract/error.ts'
import type { Artifact } from '../contract/outcome.ts'
import { makeFolder } from '../lib/make-folder.ts'
import { parseJson } from '../lib/parse-json.ts'
import { roleOf } from './role.ts'

/*
 * The folder of `run --artifacts`: untrusted code chose the names and the bytes, and the folder may hold anything.
 *
 * - No link in it is followed: each step of a path is opened by its parent's descriptor (`/proc/self/fd/N/name`, as
 *   Node has no openat) with O_NOFOLLOW, and a file arrives by rename, which replaces a link and never writes through
 *   it. Where there is no /proc the same is done by path, and a link that is laid meanwhile is followed.
 * - A file that is there is replaced only if Mayfly wrote it and its bytes are still those: `.mayfly-artifacts.json`
 *   in the folder lists what was written, with size and sha256. Anything else stays, and is told.
 */

const LIST = '.mayfly-artifacts.json'
const LIST_BYTES_MAX = 4 * 2 ** 20
const LISTED_MAX = 20_000
const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW
const FILE = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW

export interface Unsaved {
  readonly path: string
  readonly because: string
}

interface Listed {
  readonly size: number
  readonly sha256: string
}

export interface ArtifactsFolder extends AsyncDisposable {
  /** Writes each that it can; resolves with those that it did not, and why. Never throws. */
  save(artifacts: readonly Artifact[]): Promise<readonly Unsaved[]>
}

/** Opened before anything runs. Throws MayflyError USAGE when nothing can be written there. */
export async function openArtifactsFolder(folder: string): Promise<ArtifactsFolder> {
  const root = await opened(folder)
  return {
    async save(artifacts) {
      const list = await readList(root)
      const unsaved: Unsaved[] = []
      for (const artifact of artifacts) {
        const because = await saveOne(root, artifact, list).catch(whyOf)
        if (because !== undefined) unsaved.push({ path: artifact.path, because })
      }
      const because = await writeList(root, list).catch(whyOf)
      return because === undefined ? unsaved : [...unsaved, { path: LIST, because }]
    },
    async [Symbol.asyncDispose]() {
      await root.close()
    },
  }
}

/** As root a folder that this process may write was opened for it by the process that started it. */
async function opened(folder: string): Promise<Folder> {
  const handed = roleOf()?.artifactsFd
  try {
    if (handed === undefined) makeFolder(folder, 0o755)
    const place = handed === undefined ? folder : `/proc/self/fd/${handed}`
    const root = new Folder(await open(place, constants.O_RDONLY | constants.O_DIRECTORY), folder)
    await access(root.place, constants.W_OK | constants.X_OK)
    return root
  } catch (cause) {
    const { code = 'unreachable' } = cause as NodeJS.ErrnoException
    const uid = process.getuid?.()
    throw new MayflyError('USAGE', `Cannot write artifacts to "${folder}": ${code}`, {
      cause,
      hint: roleOf()
        ? `Started by root, Mayfly writes as uid ${uid}: name a folder that is not there yet, or chown it to ${uid}`
        : 'Name a folder that you may write',
    })
  }
}

const hasProc = existsSync('/proc/self/fd')

/** An open folder. */
class Folder {
  readonly #handle: FileHandle
  /** What a name below it is opened by. */
  readonly place: string

  constructor(handle: FileHandle, path: string) {
    this.#handle = handle
    this.place = hasProc ? `/proc/self/fd/${handle.fd}` : path
  }

  async below(name: string): Promise<Folder> {
    const path = `${this.place}/${name}`
    await mkdir(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
    return new Folder(await open(path, FOLDER), path)
  }

  close(): Promise<void> {
    return this.#handle.close()
  }
}

/** Undefined where it lies there now, else why it does not. The path was checked at the gate, and is again. */
async function saveOne(
  root: Folder,
  { path, content }: Artifact,
  list: Map<string, Listed>,
): Promise<string | undefined> {
  if (content === undefined) return 'its bytes did not come back'
  const steps = path.split('/')
  if (steps.some((step) => step === '' || step === '.' || step === '..' || step.includes('\0')))
    return 'its path is not plain'
  if (path === LIST) return 'the name is taken by the list of what Mayfly wrote'
  let folder = root
  try {
    for (const step of steps.slice(0, -1)) {
      const next = await folder.below(step)
      if (folder !== root) await folder.close()
      folder = next
    }
    const bytes = Buffer.from(content, 'base64')
    const now = { size: bytes.length, sha256: sha256Of(bytes) }
    const name = steps.at(-1)!
    const because = await whyNotReplace(`${folder.place}/${name}`, now, list.get(path))
    if (because !== undefined) return because
    await arrive(folder, name, bytes)
    list.set(path, now)
    return undefined
  } finally {
    if (folder !== root) await folder.close()
  }
}

/** It may be there already, as it is now or as it was written before; no other file is ours to replace. */
async function whyNotReplace(
  place: string,
  now: Listed,
  before: Listed | undefined,
): Promise<string | undefined> {
  const facts = await lstat(place).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (!facts) return undefined
  if (!facts.isFile())
    return `a ${facts.isSymbolicLink() ? 'link' : 'folder'} of that name is there`
  const known = [now, before].filter((one) => one?.size === facts.size)
  const digest = known.length > 0 ? await digestOf(place, facts.size) : ''
  if (known.some((one) => one?.sha256 === digest)) return undefined
  return before
    ? 'the file there was changed since Mayfly wrote it: move it away'
    : 'a file that Mayfly did not write is there: move it away, or name another folder'
}

/** Whole, or not at all. */
async function arrive(folder: Folder, name: string, bytes: Uint8Array): Promise<void> {
  const meanwhile = `${folder.place}/.mayfly-${randomBytes(8).toString('hex')}`
  const handle = await open(meanwhile, NEW_FILE, 0o644)
  try {
    await handle.writeFile(bytes)
    await handle.close()
    await rename(meanwhile, `${folder.place}/${name}`)
  } catch (error) {
    await handle.close().catch(() => undefined)
    await unlink(meanwhile).catch(() => undefined)
    throw error
  }
}

async function digestOf(place: string, size: number): Promise<string> {
  await using handle = await open(place, FILE)
  const hash = createHash('sha256')
  const chunk = Buffer.alloc(Math.min(size, 2 ** 20))
  for (let at = 0; at < size;) {
    const { bytesRead } = await handle.read(chunk, 0, chunk.length, at)
    if (bytesRead === 0) break
    hash.update(chunk.subarray(0, bytesRead))
    at += bytesRead
  }
  return hash.digest('hex')
}

function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** An unreadable list is an empty one: nothing is replaced then. */
async function readList(root: Folder): Promise<Map<string, Listed>> {
  try {
    await using handle = await open(`${root.place}/${LIST}`, FILE)
    const facts = await handle.stat()
    if (!facts.isFile() || facts.size > LIST_BYTES_MAX) return new Map()
    const { files } = parseJson(await handle.readFile('utf8')) as { files: Record<string, Listed> }
    const entries = Object.entries(files).filter(
      ([, one]) => typeof one?.size === 'number' && typeof one.sha256 === 'string',
    )
    return new Map(entries.map(([path, { size, sha256 }]) => [path, { size, sha256 }]))
  } catch {
    return new Map()
  }
}

/** The newest, where there are too many. */
async function writeList(root: Folder, list: ReadonlyMap<string, Listed>): Promise<undefined> {
  if (list.size === 0) return
  const files = Object.fromEntries([...list].slice(-LISTED_MAX))
  await arrive(root, LIST, Buffer.from(`${JSON.stringify({ format: 1, files })}\n`))
}

const reasons: Readonly<Record<string, string>> = {
  ELOOP: 'a link is in its place',
  ENOTDIR: 'a file or a link is where its folder would be',
  EEXIST: 'a file is where its folder would be',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EACCES: 'it may not be written there',
  ENAMETOOLONG: 'its name is too long here',
}

function whyOf(thrown: unknown): string {
  const { code, message } = thrown as NodeJS.ErrnoException
  return reasons[code ?? ''] ?? code ?? message
}
