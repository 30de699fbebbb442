import { constants } from 'node:fs'
import { type FileHandle, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { MemoryBase } from '../contract/warden.ts'
import { sha256OfHandle } from '../lib/file-sha256.ts'
import { makeFolder } from '../lib/make-folder.ts'
import { copySparse } from '../lib/copy-sparse.ts'
import { retentionMs } from './bodies.ts'

/**
 * Memory of templates, which captures of their clones are differences to: one file per template in the state folder, named by its
 * SHA-256.
 *
 * Problem: a capture has the pages that a clone changed. Once the template is rebuilt, the other pages are gone, and with them most of the
 * kernel and of the interpreter.
 *
 * Mechanism: the first capture of a clone copies the file, as sparse as it was. Each later one renews its modification time; a
 * base that no capture named for as long as captures are kept is removed, and the least recently used beyond `countMax`.
 *
 * Not encrypted, unlike captures: a template is saved before a claim, so it holds no data of a tenant. The copy is not hashed
 * while it is written, because a gigabyte takes seconds while a wall is paused: every reader hashes it first.
 */
export interface MemoryBases {
  /** Bytes of disk that `keep` would take: none for a base that is kept. Never rejects. */
  bytesFor(base: MemoryBase): Promise<number>
  /** Resolves with the cause if the file could not be kept; never rejects. */
  keep(base: MemoryBase): Promise<string | undefined>
}

/** Name of a base in `evidence verify`, and of its file below the state folder. */
export const basesFolder = 'memory-bases'

const COUNT_MAX = 4
/** A draft of a process that was killed. */
const DRAFT_MS_MAX = 600_000
const digestForm = /^[0-9a-f]{64}$/

export interface MemoryBasesOptions {
  /** Milliseconds since 1970. */
  readonly now: () => number
  readonly countMax?: number
}

export function openMemoryBases(
  state: string,
  { now, countMax = COUNT_MAX }: MemoryBasesOptions,
): MemoryBases {
  const folder = join(state, basesFolder)
  return {
    async bytesFor({ path, sha256 }) {
      const sizeAt = async (file: string) => (await stat(file)).blocks * 512
      const isKept = await sizeAt(join(folder, sha256)).catch(() => undefined)
      // `keep` names the cause if there is no such file.
      return isKept === undefined ? await sizeAt(path).catch(() => 0) : 0
    },
    async keep({ path, sha256 }) {
      try {
        makeFolder(folder, 0o700)
        const place = join(folder, digestOf(sha256))
        const at = new Date(now())
        await utimes(place, at, at).catch(() => copyTo(path, place, at))
        await removeStale(folder, { now: now(), countMax, except: sha256 })
        return undefined
      } catch (error) {
        return messageOf(error)
      }
    },
  }
}

/**
 * Opens a base whose bytes have this digest. Throws MayflyError NOT_FOUND if it is not kept, and STATE if it was changed.
 */
export async function openMemoryBase(state: string, sha256: string): Promise<FileHandle> {
  const place = join(state, basesFolder, digestOf(sha256))
  // Hashed by the handle that is given: by its path, a pipe or another file could be put in its place.
  const file = await open(place, READ_PLAIN).catch(() => undefined)
  if (file === undefined)
    throw new MayflyError('NOT_FOUND', 'Cannot read the memory of a template: it is not kept')
  try {
    if ((await file.stat()).isFile() && (await sha256OfHandle(file)) === sha256) return file
    throw new MayflyError('STATE', 'Cannot read the memory of a template: it was changed')
  } catch (error) {
    await file.close()
    throw error
  }
}

const READ_PLAIN = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

async function copyTo(from: string, to: string, at: Date): Promise<void> {
  const draft = `${to}.${process.pid}.tmp`
  try {
    await using source = await open(from, READ_PLAIN)
    const facts = await source.stat()
    if (!facts.isFile()) throw new Error('the memory of its template is not a plain file')
    await using target = await open(draft, 'wx', 0o400)
    await copySparse(source, target, facts.size)
    await target.utimes(at, at)
    await rename(draft, to)
  } catch (error) {
    await rm(draft, { force: true })
    throw error
  }
}

interface Sweep {
  readonly now: number
  readonly countMax: number
  /** Digest that was used just now. */
  readonly except: string
}

async function removeStale(folder: string, { now, countMax, except }: Sweep): Promise<void> {
  const names = (await readdir(folder)).filter((name) => name !== except)
  const files = await Promise.all(
    names.map(async (name) => ({ name, usedMs: (await stat(join(folder, name))).mtimeMs })),
  )
  const latestFirst = files.toSorted((a, b) => b.usedMs - a.usedMs)
  const bases = latestFirst.filter(({ name }) => digestForm.test(name))
  const stale = latestFirst.filter(({ name, usedMs }) => {
    const isBase = digestForm.test(name)
    const ageMsMax = isBase ? retentionMs : DRAFT_MS_MAX
    return usedMs < now - ageMsMax || bases.findIndex((one) => one.name === name) >= countMax - 1
  })
  for (const { name } of stale) await rm(join(folder, name), { force: true })
}

function digestOf(sha256: string): string {
  if (digestForm.test(sha256)) return sha256
  throw new RangeError('a digest has 64 hexadecimal digits')
}
