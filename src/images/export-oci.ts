import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { MayflyError } from '../contract/error.ts'
import { openDescriptor } from '../lib/file-descriptor.ts'
import { sha256 } from '../lib/hash.ts'
import { tarEnd, tarPadding } from '../lib/tar.ts'
import type { ImageWork } from './build.ts'
import { imageSeconds } from './canonical-tar.ts'
import { imageError } from './image-error.ts'
import { whyImageBroken, type StoredImage } from './store.ts'
import { tarHeader } from './tar.ts'
import { extractImage, filePieces } from './unpack.ts'

/**
 * Writes an image as an OCI image layout (image-spec 1.1) with one layer.
 *
 * The layer is the canonical stream of its files (`unpack.ts`), so that importing it gives the same image. It is not
 * compressed: gzip output differs between zlib releases, while tar is deterministic, so the layout of an image has the
 * same digest everywhere.
 */
export interface OciExport extends ImageWork {
  readonly image: StoredImage
  /** Public key of the state folder. */
  readonly key: string | undefined
  /** Path to create: a folder, or a tar archive if it ends in `.tar`. */
  readonly to: string
  readonly name: string
}

/** Returns the digest of the manifest. Throws MayflyError CONFLICT, INVALID, IMAGE_BROKEN, UNAVAILABLE and DISK_FULL. */
export async function exportOci(given: OciExport): Promise<string> {
  const { to, store, image, key } = given
  if (lstatSync(to, { throwIfNoEntry: false }))
    throw new MayflyError('CONFLICT', `Cannot export to "${to}": it exists already`)
  const why = whyImageBroken(image, key)
  if (why) throw new MayflyError('IMAGE_BROKEN', `Cannot export image "${given.name}": ${why}`)
  if (image.signed.manifest.form === 'archive')
    throw new MayflyError(
      'INVALID',
      `Cannot export image "${given.name}": it is an archive and not a file system`,
    )
  const work = mkdtempSync(path.join(store.work, 'export-'))
  // Unpredictable name, created exclusively: in a shared folder such as /tmp, another user could plant a link.
  const draft = path.join(path.dirname(path.resolve(to)), `.${randomBytes(16).toString('hex')}`)
  try {
    const layer = path.join(work, 'layer')
    const root = path.join(work, 'files')
    const diff = await extractImage(given, { name: given.name, work, root, stream: layer })
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
  using output = openDescriptor(to, 'wx', 0o644)
  for (const piece of filePieces(from)) writeFileSync(output.fd, piece)
  fsyncSync(output.fd)
}

function writeArchive(layout: string, to: string): void {
  using output = openDescriptor(to, 'wx', 0o644)
  const write = (bytes: Uint8Array) => writeFileSync(output.fd, bytes)
  const blobs = readdirSync(path.join(layout, 'blobs', 'sha256')).sort()
  const files = ['oci-layout', 'index.json', ...blobs.map((one) => `blobs/sha256/${one}`)]
  const target = ''
  for (const folder of ['blobs', 'blobs/sha256'])
    write(tarHeader({ kind: 'folder', path: folder, mode: 0o755, size: 0, target }, imageSeconds))
  for (const file of files) {
    const { size } = statSync(path.join(layout, file))
    write(tarHeader({ kind: 'file', path: file, mode: 0o644, size, target }, imageSeconds))
    for (const piece of filePieces(path.join(layout, file))) write(piece)
    write(tarPadding(size))
  }
  write(tarEnd)
  fsyncSync(output.fd)
}
