import { createHash, randomBytes } from 'node:crypto'
import { constants, existsSync, statSync } from 'node:fs'
import { access, lstat, mkdir, open, rename, unlink, type FileHandle } from 'node:fs/promises'
import { MayflyError } from '../contract/error.ts'
import type { Artifact } from '../contract/outcome.ts'
import { attempt } from '../lib/attempt.ts'
import { makeFolder } from '../lib/make-folder.ts'
import { whyUnreadable } from '../lib/why-unreadable.ts'
import { parseJson } from '../lib/parse-json.ts'
import { leaveRoot, roleOf } from './role.ts'

/*
 * Folder of `run --artifacts`. Names and bytes come from untrusted code, and the folder may contain anything.
 *
 * - Symlinks are never followed: each path component is opened through the fd of its parent (`/proc/self/fd/N/name`,
 *   since Node has no openat) with O_NOFOLLOW, and files arrive by rename, which replaces a symlink instead of writing
 *   through it. Without /proc the same is done by path, where a symlink race (TOCTOU) is possible.
 * - An existing file is replaced only if Mayfly wrote it and it is unchanged: `.mayfly-artifacts.json` in the folder
 *   lists size and sha256 of what was written. Anything else stays, and is reported.
 * - No repository is written: git and Mercurial run programs that its configuration names, also when only a prompt of a
 *   shell asks for its status. git takes a folder for a bare repository by the files in it, of which `HEAD` must be one.
 */

const LIST = '.mayfly-artifacts.json'
const LIST_BYTES_MAX = 4 * 2 ** 20
const LISTED_MAX = 20_000
/** More than a list takes without its entries. */
const LIST_FRAME_BYTES = 64
/** In any case, for file systems that ignore it. */
const REPOSITORY = /^\.(?:git|hg)$/i
const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW
const FILE = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW

export interface UnsavedArtifact {
  readonly path: string
  readonly because: string
}

interface Listed {
  readonly size: number
  readonly sha256: string
}

export interface ArtifactsFolder extends AsyncDisposable {
  /** Writes what it can; resolves to the artifacts not written, with reasons. Never throws. */
  save(artifacts: readonly Artifact[]): Promise<readonly UnsavedArtifact[]>
}

/** Opens the folder before the job runs. Throws MayflyError USAGE if it is not writable. */
export async function openArtifactsFolder(folder: string): Promise<ArtifactsFolder> {
  const root = await opened(folder)
  return {
    async save(artifacts) {
      const list = await readList(root)
      const unsaved: UnsavedArtifact[] = []
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

/** As root, the parent process has opened the folder and passed its fd. */
async function opened(folder: string): Promise<Folder> {
  const handed = roleOf()?.artifactsFd
  // access(2) asks for the real uid.
  await leaveRoot()
  try {
    if (handed === undefined) makeFolder(folder, 0o755)
    const place = handed === undefined ? folder : `/proc/self/fd/${handed}`
    const root = new Folder(await open(place, constants.O_RDONLY | constants.O_DIRECTORY), folder)
    await access(root.place, constants.W_OK | constants.X_OK)
    return root
  } catch (cause) {
    const because = whyNot(folder, handed, cause)
    const uid = process.getuid?.()
    throw new MayflyError('USAGE', `Cannot write artifacts to "${folder}": ${because}`, {
      cause,
      hint: roleOf()
        ? `Mayfly was started by root and writes as uid ${uid}: name a folder that does not exist yet, or chown it to ${uid}`
        : 'Name a folder that this user may write',
    })
  }
}

/** Mayfly of root writes as another user, to folders that are closed to that one too. */
function whyNot(folder: string, handed: number | undefined, cause: unknown): string {
  const place = handed === undefined ? folder : `/proc/self/fd/${handed}`
  const facts = attempt(() => statSync(place))
  const { code } = cause as NodeJS.ErrnoException
  if (code !== 'EACCES' || !facts?.isDirectory()) return whyUnreadable(folder, cause).because
  const uid = process.geteuid?.()
  if (facts.uid === uid) return `its mode is ${(facts.mode & 0o7777).toString(8).padStart(4, '0')}`
  return `it belongs to uid ${facts.uid}, and Mayfly writes as uid ${uid}`
}

const hasProc = existsSync('/proc/self/fd')

/** Open folder. */
class Folder {
  readonly #handle: FileHandle
  /** Path prefix for names below it. */
  readonly place: string

  constructor(handle: FileHandle, path: string) {
    this.#handle = handle
    this.place = hasProc ? `/proc/self/fd/${handle.fd}` : path
  }

  async below(name: string): Promise<Folder> {
    const path = `${this.place}/${name}`
    await mkdir(path, 0o755).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
    return new Folder(await open(path, FOLDER), path)
  }

  close(): Promise<void> {
    return this.#handle.close()
  }
}

/** Returns undefined once saved, otherwise the reason. Checks the path again after the gate. */
async function saveOne(
  root: Folder,
  { path, content }: Artifact,
  list: Map<string, Listed>,
): Promise<string | undefined> {
  if (content === undefined) return 'its bytes did not come back'
  const steps = path.split('/')
  if (steps.some((step) => step === '' || step === '.' || step === '..') || /\p{Cc}/u.test(path))
    return 'its path is not plain'
  if (path === LIST) return 'the name is reserved for the list of written artifacts'
  if (steps.some((step) => REPOSITORY.test(step)) || /^head$/i.test(steps.at(-1)!))
    return 'it would be part of a repository of git or Mercurial, which can name programs to run'
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
    // Moved to the end, among the newest.
    list.delete(path)
    list.set(path, now)
    return undefined
  } finally {
    if (folder !== root) await folder.close()
  }
}

/** Replaces a file only if it has the new content already or is unchanged since Mayfly wrote it. */
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

/** Atomic: writes a temporary file and renames it. */
async function arrive(folder: Folder, name: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${folder.place}/.mayfly-${randomBytes(8).toString('hex')}`
  const handle = await open(temporary, NEW_FILE, 0o644)
  try {
    await handle.writeFile(bytes)
    await handle.close()
    await rename(temporary, `${folder.place}/${name}`)
  } catch (error) {
    await handle.close().catch(() => undefined)
    await unlink(temporary).catch(() => undefined)
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

/** Treats an unreadable list as empty: nothing is replaced then. */
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

/** Lists the newest entries, up to the limits; a larger list would be unreadable later. */
async function writeList(root: Folder, list: ReadonlyMap<string, Listed>): Promise<undefined> {
  if (list.size === 0) return
  const entries = [...list].slice(-LISTED_MAX)
  let bytes = LIST_FRAME_BYTES
  const dropped = entries.findLastIndex(
    (entry) => (bytes += bytesOf(Object.fromEntries([entry]))) > LIST_BYTES_MAX,
  )
  const files = Object.fromEntries(entries.slice(dropped + 1))
  await arrive(root, LIST, Buffer.from(`${JSON.stringify({ format: 1, files })}\n`))
}

/** Bytes of JSON; of an object with one entry, one more than that entry takes in a list. */
const bytesOf = (value: unknown) => Buffer.byteLength(JSON.stringify(value))

const reasons: Readonly<Record<string, string>> = {
  ELOOP: 'a symbolic link of that name exists',
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
