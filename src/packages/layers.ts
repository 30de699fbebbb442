/**
 * Folders of packages as read-only layers, made once and shared by the runs of one tenant.
 *
 * A layer is a folder below `folder`, named by a keyed digest of the tenant, the lock file and what lies in the source;
 * the key never leaves `folder`, so that nobody else can guess a name. It is made under another name and renamed when
 * it is whole, so that of two makers one wins and a maker that was killed leaves nothing that could be taken for a
 * layer. Beside it lie what is known of it (`.json`) and a marker for each process that uses it (`.use.…`), which is
 * void once that process is gone; a layer without one may be evicted, the one unused for longest first.
 *
 * Change times and inodes of the files count as well, so a second copy of the same packages is a second layer: lock file, sizes
 * and modification times are for a strange project to choose, and its files would be taken for those of another.
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
import { sha256 } from '../lib/hash.ts'
import { makeFolder } from '../lib/make-folder.ts'
import { isAlive, thisOwner, type Owner } from '../lib/owner.ts'
import { parseJson } from '../lib/parse-json.ts'
import type { PackageSource } from './find.ts'
import { copyTree } from './make.ts'
import { survey, type Survey } from './survey.ts'

/** All layers of one user together. */
const bytesMax = 16 * 2 ** 30
const layersMax = 256
const KEY_BYTES = 32
const NAME = /^[0-9a-f]{64}$/
/** Others may pass through, by a name that they know. */
const FOLDER_MODE = 0o711

export interface LayersOptions {
  readonly folder: string
  /** For tests. */
  readonly bytesMax?: number
  readonly layersMax?: number
}

/** A layer for as long as it is held: until then it is not evicted. */
export interface HeldLayer extends Disposable {
  readonly layer: PackageLayer
  /** Whether it was there already. */
  readonly isReused: boolean
  readonly left: Survey['left']
}

const aboutSchema = z.object({
  format: z.literal(1),
  kind: z.enum(layerKinds),
  files: z.number().int().min(0),
  bytes: z.number().int().min(0),
  /** Of files with a suffix of JavaScript or TypeScript. */
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

  /** The layer of a folder of packages, made where there is none yet. Throws MayflyError USAGE, or STATE. */
  async take(tenant: string, source: PackageSource): Promise<HeldLayer> {
    this.#open()
    const found = await survey(source.folder).catch((cause: unknown) => {
      if (cause instanceof MayflyError) throw cause
      const message = `Cannot take packages from "${source.folder}": ${messageOf(cause)}`
      throw new MayflyError('USAGE', message, { cause })
    })
    const name = this.#nameOf(tenant, source, found)
    this.#hold(name)
    try {
      const isReused = this.#isWhole(name)
      if (!isReused) await this.#makeOnce(name, source, found)
      const now = new Date()
      utimesSync(this.#aboutFile(name), now, now)
      const { files, bytes } = aboutOf(source.kind, found)
      return {
        layer: { kind: source.kind, layer: name, files, bytes },
        isReused,
        left: found.left,
        [Symbol.dispose]: () => this.#letGo(name),
      }
    } catch (error) {
      this.#letGo(name)
      if (error instanceof MayflyError) throw error
      throw this.#broken(error)
    }
  }

  #open(): void {
    try {
      makeFolder(this.#folder, FOLDER_MODE)
      const { uid, mode } = lstatSync(this.#folder)
      if (uid !== process.getuid?.() || (mode & 0o022) !== 0)
        throw new Error('others may write to it, or it is not ours')
      this.#key ??= this.#readKey()
    } catch (error) {
      throw this.#broken(error)
    }
  }

  #broken(cause: unknown): MayflyError {
    const message = `Cannot keep packages in "${this.#folder}": ${messageOf(cause)}`
    const hint = 'Make room there, or run without them: --no-packages'
    return new MayflyError('STATE', message, { cause, hint })
  }

  /** The first to name it wins; the others read it. */
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

  #isWhole(name: string): boolean {
    return existsSync(this.#aboutFile(name)) && existsSync(path.join(this.#folder, name))
  }

  #aboutFile(name: string): string {
    return path.join(this.#folder, `${name}.json`)
  }

  /** Two runs of this process wait for one copy. */
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
      `.making.${spelt(this.#owner)}.${randomBytes(8).toString('hex')}`,
    )
    const content = path.join(made, contentOf[source.kind])
    mkdirSync(made)
    try {
      mkdirSync(content)
      await copyTree(source.folder, content, found)
      // Node looks upwards for one, and must not end at a folder that it may not read.
      writeFileSync(path.join(made, 'package.json'), '{}')
      openToAll(made, path.join(made, 'package.json'))
      rename(made, path.join(this.#folder, name))
      writeWhole(this.#aboutFile(name), JSON.stringify(aboutOf(source.kind, found)))
    } finally {
      rmSync(made, { recursive: true, force: true })
    }
  }

  #hold(name: string): void {
    const count = this.#held.get(name) ?? 0
    this.#held.set(name, count + 1)
    if (count === 0) closeSync(openSync(this.#marker(name), 'w', 0o600))
  }

  #letGo(name: string): void {
    const count = (this.#held.get(name) ?? 1) - 1
    if (count > 0) return void this.#held.set(name, count)
    this.#held.delete(name)
    rmSync(this.#marker(name), { force: true })
  }

  #marker(name: string): string {
    return path.join(this.#folder, `${name}.use.${spelt(this.#owner)}`)
  }

  /** Removes what dead makers and users left. */
  #sweep(): void {
    for (const entry of readdirSync(this.#folder)) {
      const owner = ownerIn(entry)
      if (owner && !isAlive(owner)) this.#remove(entry)
      if (entry.startsWith('.gone.')) this.#remove(entry)
    }
  }

  #remove(entry: string): void {
    try {
      rmSync(path.join(this.#folder, entry), { recursive: true, force: true })
    } catch {
      // Of another user, or in use: the next sweep tries again.
    }
  }

  /** Evicts until `bytes` more are within the bounds. Throws MayflyError STATE where what is in use leaves no room. */
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
        hint: 'Wait until other runs are over, or bring less',
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
    renameSync(place, away)
    if (this.#isUsed(name)) {
      // Somebody took it meanwhile.
      renameSync(away, place)
      return false
    }
    for (const entry of [`${name}.json`, `${name}.found.json`, gone]) this.#remove(entry)
    return true
  }

  #isUsed(name: string): boolean {
    return readdirSync(this.#folder).some((entry) => {
      const owner = entry.startsWith(`${name}.use.`) ? ownerIn(entry) : undefined
      return owner !== undefined && isAlive(owner)
    })
  }

  /** What is known of a layer; undefined where there is none of this name. */
  about(name: string): AboutLayer | undefined {
    try {
      return aboutSchema.parse(parseJson(readFileSync(this.#aboutFile(name), 'utf8')))
    } catch {
      return undefined
    }
  }
}

function aboutOf(kind: LayerKind, { files, bytes }: Survey): AboutLayer {
  const code = files.filter((file) => isCodePath(file.path))
  const codeBytes = code.reduce((sum, { size }) => sum + size, 0)
  return { format: 1, kind, files: files.length, bytes, codeBytes }
}

/** Onto what another maker put there meanwhile: that is the same. */
function rename(made: string, place: string): void {
  try {
    renameSync(made, place)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error
  }
}

function writeWhole(file: string, text: string): void {
  const own = `${file}.${randomBytes(8).toString('hex')}`
  writeFileSync(own, text, { flag: 'wx', mode: 0o600 })
  renameSync(own, file)
}

function openToAll(...places: readonly string[]): void {
  for (const place of places) chmodSync(place, lstatSync(place).isDirectory() ? 0o755 : 0o644)
}

function spelt({ bootId, pid, startTime }: Owner): string {
  return `${pid}-${startTime}-${bootId}`
}

function ownerIn(entry: string): Owner | undefined {
  const match = /^(?:\.making|[0-9a-f]{64}\.use)\.(\d+)-(\d*)-([0-9a-f-]*)/.exec(entry)
  if (!match) return undefined
  const [, pid = '', startTime = '', bootId = ''] = match
  return { pid: Number(pid), startTime, bootId }
}
