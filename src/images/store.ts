import { createHash, randomBytes } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { MayflyError, messageOf } from '../contract/error.ts'
import { openDescriptor, openToRead, piecesOf } from '../lib/file-descriptor.ts'
import { sha256 } from '../lib/hash.ts'
import { makeFolder } from '../lib/make-folder.ts'
import { parseJson } from '../lib/parse-json.ts'
import { wardenFolder } from '../lib/state-folder.ts'
import { claimStoreFile } from '../lib/store-file.ts'
import { signedManifestSchema, whyManifestUntrusted, type SignedManifest } from './manifest.ts'
import { imageName } from './recipe.ts'
import type { VerifiedFiles } from './verified-files.ts'

/**
 * Images by their SHA-256, with signed manifests and tags.
 *
 * The store lies beside the signing key, out of reach of the server, which owns the state folder. A complete file gets
 * its name by rename(2): first the image, then its bill of materials, its manifest, and a tag, so that a build killed
 * at any point leaves no name for an incomplete file. Builds and collections hold a transaction on `lock.db` as their
 * lock: the kernel releases it when the holder dies, and the holder may remove all of `work/`. Readers take no lock.
 */
export interface ImageStore extends Disposable {
  readonly folder: string
  /** Scratch folder, on the same file system as the images; removed with this object. */
  readonly work: string
  /** Adds a finished image from `work` with its bill of materials and manifest, and points `tags` to it. */
  add(
    image: string,
    signed: SignedManifest,
    more: { readonly sbom?: string; readonly tags: readonly string[] },
  ): void
  tag(digest: string, name: string): void
  /** Writes a file into another folder of the store, atomically. */
  put(place: StoreEntry, text: string | TextParts): void
  /** Returns false if the file does not exist. */
  remove(place: StoreEntry): boolean
  /** Returns false if the tag does not exist. */
  untag(name: string): boolean
  /** Removes untagged images. */
  collect(): Collected
}

/** Writes a text piece by piece. */
type TextParts = (write: (part: string) => void) => void

/** Additional file of the store: a feed by name, or a scan by the digest of its image. */
export interface StoreEntry {
  readonly kind: 'feeds' | 'scans'
  readonly name: string
}

export interface StoredImage {
  readonly digest: string
  readonly tags: readonly string[]
  readonly file: string
  readonly signed: SignedManifest
}

/** Path of an additional file. */
export function storeFile(folder: string, { kind, name }: StoreEntry): string {
  const checked = digestText.test(name) ? name : imageName.parse(name)
  return path.join(folder, kind, `${checked}.json`)
}

export interface Collected {
  readonly digests: readonly string[]
  readonly bytes: number
}

const manifestBytesMax = 4 * 2 ** 20
/** 20,000 packages, the maximum of an imported image, take 15 MiB. */
const sbomBytesMax = 2 ** 25
const digestText = /^[0-9a-f]{64}$/
const SHORT_MIN = 8

export function imageFolder(state: string): string {
  return path.join(wardenFolder(state), 'images')
}

const imageFile = (folder: string, { manifest: { digest, form } }: SignedManifest) =>
  path.join(folder, 'blobs', `${digest}.${form === 'archive' ? 'cpio' : 'erofs'}`)
const manifestFile = (folder: string, digest: string) =>
  path.join(folder, 'manifests', `${digest}.json`)
const sbomFile = (folder: string, digest: string) => path.join(folder, 'sboms', `${digest}.json`)
const tagFile = (folder: string, name: string) => path.join(folder, 'tags', name)

/** Opens the store for changes. Throws MayflyError BUSY if another process is changing it, and STATE. */
export function openImageStore(folder: string): ImageStore {
  const lock = takeLock(folder)
  try {
    return openLocked(folder, lock)
  } catch (thrown) {
    lock.close()
    throw thrown
  }
}

function openLocked(folder: string, lock: DatabaseSync): ImageStore {
  const work = path.join(folder, 'work', randomBytes(6).toString('hex'))
  rmSync(path.join(folder, 'work'), { recursive: true, force: true })
  for (const name of subfolders) openSubfolder(folder, name)
  mkdirSync(work, { recursive: true, mode: 0o700 })
  const place = (text: string | TextParts, to: string) => {
    const draft = path.join(work, `draft-${randomBytes(4).toString('hex')}`)
    {
      using output = openDescriptor(draft, 'wx', 0o644)
      const write = (part: string) => writeFileSync(output.fd, part)
      if (typeof text === 'string') write(text)
      else text(write)
      fsyncSync(output.fd)
    }
    renameSync(draft, to)
  }
  return {
    folder,
    work,
    add(image, signed, { sbom, tags }) {
      const { digest } = signed.manifest
      if (sbom !== undefined && Buffer.byteLength(sbom) > sbomBytesMax)
        throw new MayflyError('TOO_LARGE', 'Cannot store the image: it lists too many packages')
      chmodSync(image, 0o444)
      sync(image)
      renameSync(image, imageFile(folder, signed))
      if (sbom !== undefined) place(sbom, sbomFile(folder, digest))
      place(`${JSON.stringify(signed, undefined, 2)}\n`, manifestFile(folder, digest))
      for (const name of tags) place(`${digest}\n`, tagFile(folder, imageName.parse(name)))
      sync(path.join(folder, 'tags'))
    },
    tag: (digest, name) => place(`${digest}\n`, tagFile(folder, imageName.parse(name))),
    put: (to, text) => place(text, storeFile(folder, to)),
    remove: (which) => removed(storeFile(folder, which)),
    untag: (name) => removed(tagFile(folder, imageName.parse(name))),
    collect: () => collect(folder),
    [Symbol.dispose]() {
      rmSync(path.join(folder, 'work'), { recursive: true, force: true })
      lock.close()
    },
  }
}

const subfolders = ['blobs', 'sboms', 'manifests', 'tags', 'feeds', 'scans'] as const

function openSubfolder(folder: string, name: string): void {
  const place = path.join(folder, name)
  makeFolder(place, 0o755)
  if (!lstatSync(place).isDirectory())
    throw new MayflyError('STATE', `Cannot use the image store: "${place}" is a link`)
}

function removed(file: string): boolean {
  const isThere = existsSync(file)
  rmSync(file, { force: true })
  return isThere
}

/** All images with a readable manifest, newest first, and the errors of the others. */
export function listImages(folder: string): {
  readonly images: readonly StoredImage[]
  readonly faults: readonly string[]
} {
  const tags = tagsOf(folder)
  const images: StoredImage[] = []
  const faults: string[] = []
  for (const digest of digestsIn(path.join(folder, 'manifests'))) {
    try {
      images.push(storedImage(folder, digest, tags))
    } catch (thrown) {
      faults.push(messageOf(thrown))
    }
  }
  images.sort((a, b) => b.signed.manifest.at - a.signed.manifest.at)
  return { images, faults }
}

/**
 * Finds an image by tag, digest or digest prefix, which is never guessed from a name that is both. Throws MayflyError
 * NOT_FOUND, INVALID and IMAGE_BROKEN.
 */
export function findImage(folder: string, name: string): StoredImage {
  const tags = tagsOf(folder)
  const given = name.replace(/^sha256:/, '')
  const isShort = /^[0-9a-f]{8,64}$/.test(given) && given.length >= SHORT_MIN
  const digests = digestsIn(path.join(folder, 'manifests'))
  const named = tags.get(name)
  const short = digests.filter((one) => isShort && one.startsWith(given))
  const found = named ? [...new Set([named, ...short])] : short
  if (found.length > 1)
    throw new MayflyError(
      'INVALID',
      `Cannot choose an image for "${name}": ${named ? 'it is a tag, and ' : ''}${short.length} digests begin with it`,
      { hint: 'Give all 64 digits: "mayfly images list --json" shows them' },
    )
  const [digest] = found
  if (digest === undefined)
    throw new MayflyError('NOT_FOUND', `Cannot find image "${name}"`, {
      hint: 'List the images of this store with "mayfly images list"',
    })
  return storedImage(folder, digest, tags)
}

function storedImage(
  folder: string,
  digest: string,
  tags: ReadonlyMap<string, string>,
): StoredImage {
  const own = [...tags].flatMap(([tag, named]) => (named === digest ? [tag] : []))
  const signed = readManifest(folder, digest)
  return { digest, tags: own, file: imageFile(folder, signed), signed }
}

/** Reason why a stored image must not be used; undefined if its bytes and manifest are valid. */
export function whyImageBroken(
  image: StoredImage,
  key: string | undefined,
  verified?: VerifiedFiles,
): string | undefined {
  const { signed, digest, file } = image
  const why = whyManifestUntrusted(signed, key)
  if (why) return why
  if (signed.manifest.digest !== digest) return 'its manifest belongs to another image'
  const stats = lstatSync(file, { throwIfNoEntry: false })
  if (!stats?.isFile()) return 'its file is missing'
  if (stats.size !== signed.manifest.size)
    return `its file has ${stats.size} bytes, not ${signed.manifest.size}`
  const isRight = () => fileDigest(file) === digest
  if (!(verified ? verified.check(file, digest, isRight) : isRight())) return 'its SHA-256 is wrong'
  const sbom = signed.manifest.sbom === undefined ? undefined : sbomText(image)
  return sbom === null ? 'its bill of materials differs from the signed one' : undefined
}

/** Advice for an image without a bill of materials. */
export const sbomFix =
  'Build the image again, or import one that lists its Debian packages in "/var/lib/dpkg/status"'

/** Bill of materials, verified against the manifest. Throws MayflyError NOT_FOUND and IMAGE_BROKEN. */
export function readSbom(image: StoredImage, key: string | undefined): string {
  const action = `read the bill of materials of image "${image.digest}"`
  if (image.signed.manifest.sbom === undefined)
    throw new MayflyError('NOT_FOUND', `Cannot ${action}: it has none`, {
      hint: sbomFix,
    })
  const why = whyManifestUntrusted(image.signed, key)
  const text = why === undefined ? sbomText(image) : null
  if (text === null)
    throw new MayflyError(
      'IMAGE_BROKEN',
      `Cannot ${action}: ${why ?? 'it does not match the signature'}`,
      { hint: 'Build the image again' },
    )
  return text
}

/** Null if the file does not match the digest in the manifest. */
function sbomText({ digest, file, signed }: StoredImage): string | null {
  const at = sbomFile(path.dirname(path.dirname(file)), digest)
  const stats = lstatSync(at, { throwIfNoEntry: false })
  if (!stats?.isFile() || stats.size > sbomBytesMax) return null
  const text = readFileSync(at, 'utf8')
  return sha256(text) === signed.manifest.sbom ? text : null
}

/** SHA-256 of a file, which may be larger than memory. */
export function fileDigest(file: string): string {
  const hash = createHash('sha256')
  using input = openToRead(file)
  for (const piece of piecesOf(input)) hash.update(piece)
  return hash.digest('hex')
}

function takeLock(folder: string): DatabaseSync {
  makeFolder(folder, 0o700)
  const stats = lstatSync(folder)
  if (!stats.isDirectory() || stats.uid !== (process.getuid?.() ?? stats.uid))
    throw new MayflyError('STATE', `Cannot use the image store "${folder}": another user owns it`)
  const file = path.join(folder, 'lock.db')
  claimStoreFile(file)
  const lock = new DatabaseSync(file, { timeout: 0 })
  try {
    lock.exec('BEGIN EXCLUSIVE')
    return lock
  } catch (cause) {
    lock.close()
    throw new MayflyError('BUSY', 'Cannot change the image store: another command is changing it', {
      hint: 'Try again after it has ended',
      cause,
    })
  }
}

function readManifest(folder: string, digest: string): SignedManifest {
  const broken = (why: string, cause?: unknown) =>
    new MayflyError('IMAGE_BROKEN', `Cannot read the manifest of image "${digest}": ${why}`, {
      hint: 'Build the image again, or run "mayfly images gc"',
      cause,
    })
  const file = manifestFile(folder, digest)
  const stats = lstatSync(file, { throwIfNoEntry: false })
  if (!stats?.isFile() || stats.size > manifestBytesMax)
    throw broken('it is not a small regular file')
  try {
    const read = signedManifestSchema.safeParse(parseJson(readFileSync(file, 'utf8')))
    if (read.success) return read.data
  } catch (thrown) {
    throw broken(messageOf(thrown), thrown)
  }
  throw broken('it is malformed')
}

function tagsOf(folder: string): ReadonlyMap<string, string> {
  return new Map([...tagTexts(folder)].filter(([, text]) => digestText.test(text)))
}

/** Text of each tag; empty for a tag that is not a small regular file. */
function tagTexts(folder: string): ReadonlyMap<string, string> {
  const names = namesIn(path.join(folder, 'tags')).filter(
    (name) => imageName.safeParse(name).success,
  )
  return new Map(
    names.map((name) => {
      const stats = lstatSync(tagFile(folder, name), { throwIfNoEntry: false })
      const isSmall = stats?.isFile() && stats.size < 100
      return [name, isSmall ? readFileSync(tagFile(folder, name), 'utf8').trim() : '']
    }),
  )
}

/** Removes nothing while a tag is unreadable: its image may still be in use. */
function collect(folder: string): Collected {
  const tags = tagTexts(folder)
  for (const [name, text] of tags)
    if (!digestText.test(text))
      throw new MayflyError('IMAGE_BROKEN', `Cannot collect images: tag "${name}" is unreadable`, {
        hint: `Remove it with "mayfly images untag ${name}", or build its image again`,
      })
  const named = new Set(tags.values())
  const digests = new Set<string>()
  let bytes = 0
  for (const [sub, ending] of [
    ['manifests', /\.json$/],
    ['sboms', /\.json$/],
    ['scans', /\.json$/],
    ['blobs', /\.(erofs|cpio)$/],
    ['boot', /\.(vmlinuz|initrd)$/],
  ] as const)
    for (const name of namesIn(path.join(folder, sub))) {
      // Boot files are created again when needed.
      const digest = ending.test(name) && sub !== 'boot' ? name.replace(ending, '') : ''
      if (named.has(digest)) continue
      const file = path.join(folder, sub, name)
      bytes += lstatSync(file, { throwIfNoEntry: false })?.size ?? 0
      rmSync(file, { recursive: true, force: true })
      if (digestText.test(digest)) digests.add(digest)
    }
  return { digests: [...digests].sort(), bytes }
}

function digestsIn(folder: string): readonly string[] {
  return namesIn(folder).flatMap((name) => /^([0-9a-f]{64})\.json$/.exec(name)?.[1] ?? [])
}

function namesIn(folder: string): readonly string[] {
  return existsSync(folder) ? readdirSync(folder).sort() : []
}

/** fsync(2) of a file or folder. */
function sync(place: string): void {
  using file = openDescriptor(place, 'r')
  fsyncSync(file.fd)
}
