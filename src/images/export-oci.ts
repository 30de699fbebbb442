import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  constants,
  fsyncSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { MayflyError } from '../contract/error.ts'
import { sha256 } from '../lib/hash.ts'
import { fetchMissing, ownArchitecture, packagesTree } from './build.ts'
import { imageSeconds, writeCanonicalTar, type ImageEntry } from './canonical-tar.ts'
import { filePiecesOf } from './feed-files.ts'
import { imageError } from './image-error.ts'
import { MAKER, uuidOf, writeErofsTool } from './make-file-system.ts'
import { writeAll, type PackageCache } from './package-cache.ts'
import { readLock, readRecipe } from './recipe.ts'
import { runTool } from './run-program.ts'
import { openSpool } from './spool.ts'
import { whyImageBroken, type ImageStore, type StoredImage } from './store.ts'
import { tarBlock, tarHeader, tarPadding } from './tar.ts'
import { modeMask } from './tree.ts'

/**
 * Writes an image as an OCI image layout (image-spec 1.1) with one layer.
 *
 * fsck.erofs of the locked packages reads the files into a scratch folder, and the canonical stream is made of them again. Its SHA-256
 * has to begin with the UUID of the file system, which the build took from that stream: so the layer is what the image was made of,
 * byte for byte, and its import gives the same image. The layer is not compressed: the bytes of gzip differ between releases of zlib,
 * those of tar do not, and so the layout of an image has one digest everywhere.
 */
export interface OciExport {
  readonly image: StoredImage
  /** Public key of the state folder. */
  readonly key: string | undefined
  /** Folder to make; a tar archive of it where it ends in `.tar`. */
  readonly to: string
  readonly name: string
  readonly makers: string
  readonly store: ImageStore
  readonly cache: PackageCache
  readonly note: (text: string) => void
  readonly signal?: AbortSignal
}

const extractMsMax = 600_000
/** Place of the UUID in an erofs image: superblock at 1024, field at 48. */
const uuidAt = 1024 + 48

/** Returns the digest of the manifest. Throws MayflyError CONFLICT, INVALID, IMAGE_BROKEN, UNAVAILABLE and DISK_FULL. */
export async function exportOci(given: OciExport): Promise<string> {
  const { to, store, image, key } = given
  if (lstatSync(to, { throwIfNoEntry: false }))
    throw new MayflyError('CONFLICT', `Cannot export to "${to}": it is there already`)
  const why = whyImageBroken(image, key)
  if (why) throw new MayflyError('IMAGE_BROKEN', `Cannot export image "${given.name}": ${why}`)
  if (image.signed.manifest.form === 'archive')
    throw new MayflyError(
      'INVALID',
      `Cannot export image "${given.name}": it is an archive, and no file system`,
    )
  const work = mkdtempSync(path.join(store.work, 'export-'))
  // A name that nobody can guess, made exclusively: in a folder of everybody's, another user might plant a link there.
  const draft = path.join(path.dirname(path.resolve(to)), `.${randomBytes(16).toString('hex')}`)
  try {
    const layer = path.join(work, 'layer')
    const diff = await writeLayer({ ...given, work }, layer)
    const layout = to.endsWith('.tar') ? path.join(work, 'layout') : draft
    const digest = writeLayout(given, layout, { file: layer, digest: diff })
    if (layout !== draft) writeArchive(layout, draft)
    renameSync(draft, to)
    return digest
  } catch (thrown) {
    throw imageError(`export image "${given.name}"`, thrown)
  } finally {
    for (const one of [work, draft]) rmSync(one, { recursive: true, force: true })
  }
}

async function writeLayer(
  given: OciExport & { readonly work: string },
  to: string,
): Promise<string> {
  const { image, makers, work, signal } = given
  const architecture = ownArchitecture()
  const makerLock = readLock(makers, readRecipe(makers, MAKER), architecture)
  await fetchMissing(given, makerLock.packages)
  using spool = openSpool(path.join(work, 'spool'))
  const makerTree = await packagesTree(given, makerLock.packages, spool)
  const tool = { makerTree, spool, architecture, folder: path.join(work, 'tool') }
  const root = path.join(work, 'files')
  const options = [`--extract=${root}`, '--no-preserve-owner', '--preserve-perms']
  const { code, said } = await runTool({
    command: [...writeErofsTool('fsck.erofs', tool), ...options, image.file],
    msMax: extractMsMax,
    signal,
  })
  if (code !== 0)
    throw new MayflyError('INTERNAL', `Cannot read the image: fsck.erofs ended with ${code}`, {
      detail: said,
    })
  const read = (place: string) => filePieces(path.join(root, place))
  const digest = writeCanonicalTar({ entries: entriesOf(root), read, to })
  if (uuidOf(digest).replaceAll('-', '') !== uuidIn(image.file))
    throw new MayflyError(
      'IMAGE_BROKEN',
      'Cannot export the image: its files are not those that it was built of',
    )
  return digest
}

/** Entries of a folder, sorted by path; nothing is followed. */
function entriesOf(root: string): readonly ImageEntry[] {
  const entries: ImageEntry[] = []
  const folders = ['']
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop())
    for (const name of readdirSync(path.join(root, folder))) {
      const place = path.posix.join(folder, name)
      const stats = lstatSync(path.join(root, place))
      if (stats.isDirectory()) {
        folders.push(place)
        entries.push([place, { kind: 'folder' }])
      } else if (stats.isSymbolicLink())
        entries.push([place, { kind: 'link', target: readlinkSync(path.join(root, place)) }])
      else
        entries.push([
          place,
          { kind: 'file', mode: stats.mode & modeMask, at: 0, size: stats.size },
        ])
    }
  return entries.sort(([a], [b]) => (a < b ? -1 : 1))
}

function* filePieces(file: string): Generator<Buffer> {
  const input = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    yield* filePiecesOf(input)
  } finally {
    closeSync(input)
  }
}

function uuidIn(image: string): string {
  const input = openSync(image, constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    const bytes = Buffer.alloc(16)
    readSync(input, bytes, 0, bytes.length, uuidAt)
    return bytes.toString('hex')
  } finally {
    closeSync(input)
  }
}

function writeLayout(
  { image, name }: OciExport,
  folder: string,
  layer: { readonly file: string; readonly digest: string },
): string {
  const { architecture, function: about, digest: own } = image.signed.manifest
  mkdirSync(folder, { mode: 0o700 })
  for (const name of ['blobs', 'blobs/sha256']) mkdirSync(path.join(folder, name))
  const blob = (mediaType: string, value: object) => {
    const text = JSON.stringify(value)
    const digest = sha256(text)
    writeFileSync(path.join(folder, 'blobs', 'sha256', digest), text, { flush: true })
    return { mediaType, digest: `sha256:${digest}`, size: Buffer.byteLength(text) }
  }
  const layerBlob = path.join(folder, 'blobs', 'sha256', layer.digest)
  copy(layer.file, layerBlob)
  const created = new Date(imageSeconds * 1000).toISOString().replace('.000', '')
  const config = blob('application/vnd.oci.image.config.v1+json', {
    created,
    architecture,
    os: 'linux',
    config: {
      Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      WorkingDir: '/',
    },
    rootfs: { type: 'layers', diff_ids: [`sha256:${layer.digest}`] },
    history: [{ created, created_by: 'mayfly images build', comment: about }],
  })
  const mediaType = 'application/vnd.oci.image.manifest.v1+json'
  const size = statSync(layerBlob).size
  const manifest = blob(mediaType, {
    schemaVersion: 2,
    mediaType,
    config,
    layers: [
      {
        mediaType: 'application/vnd.oci.image.layer.v1.tar',
        digest: `sha256:${layer.digest}`,
        size,
      },
    ],
    annotations: { 'org.opencontainers.image.title': name, 'mayfly.image.digest': `sha256:${own}` },
  })
  const index = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: [
      {
        ...manifest,
        platform: { architecture, os: 'linux' },
        annotations: { 'org.opencontainers.image.ref.name': name },
      },
    ],
  }
  writeFileSync(path.join(folder, 'index.json'), JSON.stringify(index), { flush: true })
  writeFileSync(path.join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}', { flush: true })
  chmodSync(folder, 0o755)
  return manifest.digest
}

function copy(from: string, to: string): void {
  const output = openSync(to, 'wx', 0o644)
  try {
    for (const piece of filePieces(from)) writeAll(output, piece)
    fsyncSync(output)
  } finally {
    closeSync(output)
  }
}

function writeArchive(layout: string, to: string): void {
  const output = openSync(to, 'wx', 0o644)
  try {
    const blobs = readdirSync(path.join(layout, 'blobs', 'sha256')).sort()
    const files = ['oci-layout', 'index.json', ...blobs.map((one) => `blobs/sha256/${one}`)]
    for (const folder of ['blobs', 'blobs/sha256'])
      writeAll(
        output,
        tarHeader({ kind: 'folder', path: folder, mode: 0o755, size: 0, target: '' }, imageSeconds),
      )
    for (const file of files) {
      const { size } = statSync(path.join(layout, file))
      writeAll(
        output,
        tarHeader({ kind: 'file', path: file, mode: 0o644, size, target: '' }, imageSeconds),
      )
      for (const piece of filePieces(path.join(layout, file))) writeAll(output, piece)
      writeAll(output, tarPadding(size))
    }
    writeAll(output, Buffer.alloc(2 * tarBlock))
    fsyncSync(output)
  } finally {
    closeSync(output)
  }
}
