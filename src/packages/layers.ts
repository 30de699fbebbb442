/**
 * Package folders as read-only layers, copied once and shared by the runs of one tenant.
 *
 * Mechanism: a layer is a folder named by a keyed digest (HMAC) of tenant, lock file and source listing; the key
 * never leaves `folder`, so names cannot be guessed. It is built under a temporary name and renamed when complete:
 * of two concurrent makers one wins, and a killed maker leaves no partial layer. Beside it are its description
 * (`.json`) and a use marker per process (`.use.…`), void once that process is dead; unused layers are evicted,
 * least recently used first.
 *
 * Security: ctime and inode are part of the digest, because an untrusted project can choose lock file, sizes and
 * mtimes and would otherwise be mistaken for another. The cost: a second copy of the same packages is a second
 * layer.
 */
import { createHmac, randomBytes } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import * as z from 'zod'
import { isCodePath } from '../contract/files.ts'
import { contentOf, layerKinds, type LayerKind, type PackageLayer } from '../contract/layer.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import { attempt } from '../lib/attempt.ts'
import { sha256 } from '../lib/hash.ts'
import { makeCacheFolder } from '../lib/cache-folder.ts'
import { isOwnerAlive, thisOwner, type Owner } from '../lib/owner.ts'
import { whyUnreadable } from '../lib/why-unreadable.ts'
import { parseJson } from '../lib/parse-json.ts'
import { replaceFile } from '../lib/replace-file.ts'
import type { PackageSource } from './find.ts'
import { copyTree } from './copy-tree.ts'
import { survey, type Survey } from './survey.ts'

/** Limits for all layers of one user. */
const bytesMax = 16 * 2 ** 30
const layersMax = 256
const KEY_BYTES = 32
const NAME = /^[0-9a-f]{64}$/
/** Mode 0711: other uids may traverse to a name they know. */
const FOLDER_MODE = 0o711

export interface LayersOptions {
  readonly folder: string
  /** Overridden in tests. */
  readonly bytesMax?: number
  readonly layersMax?: number
}

/** Layer that is not evicted while held. */
export interface AcquiredLayer extends Disposable {
  readonly layer: PackageLayer
  /** True if the layer existed already. */
  readonly isReused: boolean
  readonly omitted: Survey['omitted']
}

const aboutSchema = z.object({
  format: z.literal(1),
  kind: z.enum(layerKinds),
  files: z.number().int().min(0),
  bytes: z.number().int().min(0),
  /** Bytes of files with a JavaScript or TypeScript suffix. */
  codeBytes: z.number().int().min(0),
})
export type AboutLayer = z.infer<typeof aboutSchema>

export class Layers {
  readonly #folder: string
  readonly #bytesMax: number
  readonly #layersMax: number
  readonly #owner: Owner = thisOwner()
  readonly #held = new Map<string, number>()
  readonly #making = new Map<string, Promise<void>>()
  #key: Buffer | undefined

  constructor(options: LayersOptions) {
    this.#folder = options.folder
    this.#bytesMax = options.bytesMax ?? bytesMax
    this.#layersMax = options.layersMax ?? layersMax
  }

  /** Acquires the layer of a folder, and builds it if missing. Throws MayflyError USAGE or STATE. */
  async take(tenant: string, source: PackageSource): Promise<AcquiredLayer> {
    this.#open()
    const found = await survey(source.folder).catch((cause: unknown) => {
      if (cause instanceof MayflyError) throw cause
      const { because, ...hint } = whyUnreadable(
        (cause as NodeJS.ErrnoException).path ?? source.folder,
        cause,
      )
      const message = `Cannot use packages from "${source.folder}": ${because}`
      throw new MayflyError('USAGE', message, { ...hint, cause })
    })
    const name = this.#nameOf(tenant, source, found)
    this.#hold(name)
    try {
      const isReused = this.#touch(name)
      if (!isReused) {
        await this.#makeOnce(name, source, found)
        this.#touch(name)
      }
      const { files, bytes } = aboutOf(source.kind, found)
      return {
        layer: { kind: source.kind, layer: name, files, bytes },
        isReused,
        omitted: found.omitted,
        [Symbol.dispose]: () => this.#release(name),
      }
    } catch (error) {
      this.#release(name)
      if (error instanceof MayflyError) throw error
      throw this.#broken(error)
    }
  }

  #open(): void {
    try {
      makeCacheFolder(this.#folder, FOLDER_MODE)
      const { uid, mode } = lstatSync(this.#folder)
      if (uid !== process.geteuid?.() || (mode & 0o022) !== 0)
        throw new Error('other users may write to it, or own it')
      this.#key ??= this.#readKey()
    } catch (error) {
      throw this.#broken(error)
    }
  }

  #broken(cause: unknown): MayflyError {
    const message = `Cannot keep packages in "${this.#folder}": ${messageOf(cause)}`
    const hint = 'Make room there, or run without packages'
    return new MayflyError('STATE', message, { cause, hint })
  }

  /** First link(2) wins the race; the others read the winner's key. */
  #readKey(): Buffer {
    const file = path.join(this.#folder, 'key')
    if (!existsSync(file)) {
      const own = `${file}.${randomBytes(8).toString('hex')}`
      writeFileSync(own, randomBytes(KEY_BYTES), { flag: 'wx', mode: 0o600 })
      try {
        linkSync(own, file)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      } finally {
        rmSync(own)
      }
    }
    const key = readFileSync(file)
    if (key.length !== KEY_BYTES) throw new Error('its key is damaged; remove the folder')
    return key
  }

  #nameOf(tenant: string, { kind, lock }: PackageSource, found: Survey): string {
    const hash = createHmac('sha256', this.#key!)
    hash.update(JSON.stringify([tenant, kind, lock ? sha256(lock) : null]))
    hash.update(JSON.stringify([found.folders, found.links]))
    for (const { path: place, size, isExecutable, modifiedMs, changedMs, inode } of found.files)
      hash.update(JSON.stringify([place, size, isExecutable, modifiedMs, changedMs, inode]))
    return hash.digest('hex')
  }

  /** Marks a layer as used now. False if there is none, or a part of it only, as while it is evicted. */
  #touch(name: string): boolean {
    const now = new Date()
    try {
      utimesSync(this.#aboutFile(name), now, now)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      return false
    }
    return existsSync(path.join(this.#folder, name))
  }

  #aboutFile(name: string): string {
    return path.join(this.#folder, `${name}.json`)
  }

  /** Concurrent runs of this process share one copy. */
  async #makeOnce(name: string, source: PackageSource, found: Survey): Promise<void> {
    const making = this.#making.get(name) ?? this.#make(name, source, found)
    this.#making.set(name, making)
    try {
      await making
    } finally {
      this.#making.delete(name)
    }
  }

  async #make(name: string, source: PackageSource, found: Survey): Promise<void> {
    this.#sweep()
    this.#makeRoom(found.bytes)
    const made = path.join(
      this.#folder,
      `.making.${ownerText(this.#owner)}.${randomBytes(8).toString('hex')}`,
    )
    const content = path.join(made, contentOf[source.kind])
    mkdirSync(made)
    try {
      mkdirSync(content)
      await copyTree(source.folder, content, found)
      // Stops Node's upward search for package.json at a readable folder.
      writeFileSync(path.join(made, 'package.json'), '{}')
      openToAll(made, path.join(made, 'package.json'))
      rename(made, path.join(this.#folder, name))
      replaceFile(this.#aboutFile(name), JSON.stringify(aboutOf(source.kind, found)))
    } finally {
      rmSync(made, { recursive: true, force: true })
    }
  }

  #hold(name: string): void {
    const count = this.#held.get(name) ?? 0
    this.#held.set(name, count + 1)
    if (count === 0) closeSync(openSync(this.#marker(name), 'w', 0o600))
  }

  #release(name: string): void {
    const count = (this.#held.get(name) ?? 1) - 1
    if (count > 0) return void this.#held.set(name, count)
    this.#held.delete(name)
    rmSync(this.#marker(name), { force: true })
  }

  #marker(name: string): string {
    return path.join(this.#folder, `${name}.use.${ownerText(this.#owner)}`)
  }

  /** Removes leftovers of dead makers and users. */
  #sweep(): void {
    for (const entry of readdirSync(this.#folder)) {
      const owner = ownerIn(entry)
      if (owner && !isOwnerAlive(owner)) this.#remove(entry)
      if (entry.startsWith('.gone.')) this.#remove(entry)
    }
  }

  #remove(entry: string): void {
    try {
      rmSync(path.join(this.#folder, entry), { recursive: true, force: true })
    } catch {
      // Another user's, or in use: the next sweep retries.
    }
  }

  /** Evicts until `bytes` more fit. Throws MayflyError STATE if layers in use leave no room. */
  #makeRoom(bytes: number): void {
    const known = readdirSync(this.#folder).filter((entry) => NAME.test(entry))
    const layers = known
      .map((name) => ({ name, bytes: this.about(name)?.bytes ?? 0, usedMs: this.#usedMs(name) }))
      .toSorted((a, b) => a.usedMs - b.usedMs)
    let sum = layers.reduce((total, layer) => total + layer.bytes, 0)
    let count = layers.length
    for (const layer of layers) {
      if (sum + bytes <= this.#bytesMax && count < this.#layersMax) return
      if (!this.#evict(layer.name)) continue
      sum -= layer.bytes
      count--
    }
    if (sum + bytes <= this.#bytesMax && count < this.#layersMax) return
    throw new MayflyError(
      'STATE',
      `Cannot keep packages: ${sum + bytes} bytes of ${this.#bytesMax} would be in use`,
      {
        hint: 'Wait until other runs are over, or use fewer packages',
      },
    )
  }

  #usedMs(name: string): number {
    return lstatSync(this.#aboutFile(name), { throwIfNoEntry: false })?.mtimeMs ?? 0
  }

  #evict(name: string): boolean {
    if (this.#isUsed(name)) return false
    const gone = `.gone.${name}.${randomBytes(4).toString('hex')}`
    const [place, away] = [path.join(this.#folder, name), path.join(this.#folder, gone)]
    const moves = [
      [this.#aboutFile(name), `${away}.json`],
      [place, away],
    ] as const
    // Race: another process may acquire, evict or make it again at any time. Whatever has its own name afterwards is new,
    // and stays.
    const moved = moves.filter(([from, to]) => move(from, to))
    const isUsed = this.#isUsed(name)
    if (isUsed) for (const [from, to] of moved) restore(to, from)
    else this.#remove(`${name}.found.json`)
    for (const entry of [`${gone}.json`, gone]) this.#remove(entry)
    return !isUsed
  }

  #isUsed(name: string): boolean {
    return readdirSync(this.#folder).some((entry) => {
      const owner = entry.startsWith(`${name}.use.`) ? ownerIn(entry) : undefined
      return owner !== undefined && isOwnerAlive(owner)
    })
  }

  /** Description of a layer; undefined if there is none. */
  about(name: string): AboutLayer | undefined {
    return attempt(() => aboutSchema.parse(parseJson(readFileSync(this.#aboutFile(name), 'utf8'))))
  }
}

function aboutOf(kind: LayerKind, { files, bytes }: Survey): AboutLayer {
  const code = files.filter((file) => isCodePath(file.path))
  const codeBytes = code.reduce((sum, { size }) => sum + size, 0)
  return { format: 1, kind, files: files.length, bytes, codeBytes }
}

/** Tolerates an equal layer renamed there by another maker. */
function rename(made: string, place: string): void {
  renameUnless(['ENOTEMPTY', 'EEXIST'], made, place)
}

/** Tolerates also that another process has swept it: its user makes it again. */
function restore(gone: string, place: string): void {
  renameUnless(['ENOTEMPTY', 'EEXIST', 'ENOENT'], gone, place)
}

/** False if there is nothing to rename. */
function move(from: string, to: string): boolean {
  return renameUnless(['ENOENT'], from, to)
}

/** False if it fails for a tolerated reason. */
function renameUnless(tolerated: readonly string[], from: string, to: string): boolean {
  try {
    renameSync(from, to)
    return true
  } catch (error) {
    if (!tolerated.includes((error as NodeJS.ErrnoException).code ?? '')) throw error
    return false
  }
}

function openToAll(...places: readonly string[]): void {
  for (const place of places) chmodSync(place, lstatSync(place).isDirectory() ? 0o755 : 0o644)
}

function ownerText({ bootId, pid, startTime }: Owner): string {
  return `${pid}-${startTime}-${bootId}`
}

function ownerIn(entry: string): Owner | undefined {
  const match = /^(?:\.making|[0-9a-f]{64}\.use)\.(\d+)-(\d*)-([0-9a-f-]*)/.exec(entry)
  if (!match) return undefined
  const [, pid = '', startTime = '', bootId = ''] = match
  return { pid: Number(pid), startTime, bootId }
}
