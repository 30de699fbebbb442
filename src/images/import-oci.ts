import { existsSync, lstatSync, mkdtempSync, rmSync } from 'node:fs'
import path from 'node:path'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import * as z from 'zod'
import { MayflyError } from '../contract/error.ts'
import { piecesOf } from '../lib/file-descriptor.ts'
import { addImage } from './add-image.ts'
import { openMaker, ownArchitecture, type ImageWork } from './build.ts'
import { imageError } from './image-error.ts'
import { declaredContents } from './dpkg-status.ts'
import { LayerTree } from './layer-tree.ts'
import { makeFileSystem } from './make-file-system.ts'
import type { StatementSigner, SignedManifest } from './manifest.ts'
import {
  descriptorSchema,
  hashed,
  indexSchema,
  openLayout,
  parsed,
  type OciDescriptor,
  type OciLayout,
} from './oci-layout.ts'
import { readInflated } from './plain-tar.ts'
import type { Architecture } from './recipe.ts'
import { sbomOf } from './sbom.ts'
import { openSpool, type Spool } from './spool.ts'
import { fileDigest, findImage, whyImageBroken } from './store.ts'
import { TarReader } from './tar.ts'

export interface OciImport extends ImageWork {
  readonly place: string
  /** Name and tag of the imported image. */
  readonly name: string
  /** Name in the index (`org.opencontainers.image.ref.name`), if the index has several images. */
  readonly ref: string | undefined
  readonly signer: StatementSigner
  readonly now: () => number
}

const manifestSchema = z.object({
  schemaVersion: z.literal(2),
  config: descriptorSchema,
  layers: z.array(descriptorSchema).min(1).max(128),
})
const configSchema = z.object({
  os: z.literal('linux'),
  architecture: z.string(),
  rootfs: z.object({
    type: z.literal('layers'),
    diff_ids: z.array(z.string().regex(/^sha256:[0-9a-f]{64}$/)).max(128),
  }),
})
const indexTypes = new Set([
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
])
const manifestTypes = new Set([
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
])
const layerType =
  /^application\/vnd\.(?:oci\.image\.layer\.v1\.tar|docker\.image\.rootfs\.diff\.tar)(?:[+.](gzip|zstd))?$/
const manifestsMax = 1000
/** Bytes of a layer as a plain tar stream, and of the files of all layers. */
const layerBytesMax = 2 ** 32
const entriesMax = 200_000

/**
 * Imports an image of an OCI layout: its layers become one tree (`layer-tree.ts`), then the canonical stream and the
 * file system of a built image, so that equal files have equal digests, whatever their source. Throws MayflyError
 * LAYOUT_BROKEN, NOT_FOUND, INVALID, UNAVAILABLE and DISK_FULL; the store then has no new name.
 */
export async function importOci(given: OciImport): Promise<SignedManifest> {
  const { place, store } = given
  if (!lstatSync(place, { throwIfNoEntry: false }))
    throw new MayflyError('NOT_FOUND', `Cannot import image "${place}": it does not exist`)
  const work = mkdtempSync(path.join(store.work, 'import-'))
  try {
    return await importIn({ ...given, work })
  } catch (thrown) {
    throw imageError(`import image "${place}"`, thrown)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

interface OciImportIn extends OciImport {
  readonly work: string
}

async function importIn(given: OciImportIn): Promise<SignedManifest> {
  const { name, store, work, note, signal } = given
  const architecture = ownArchitecture()
  using spool = openSpool(path.join(work, 'spool'))
  const { tree, entries, origin } = await readImage(given, architecture, spool).catch(
    (thrown: unknown) => {
      throw imageError(`import image "${given.place}"`, thrown, 'LAYOUT_BROKEN')
    },
  )
  note(`${name}: ${origin.layers.length} layers, ${entries.length} files`)
  if (tree.stripped > 0)
    note(`${name}: ${tree.stripped} files without their setuid, setgid, sticky bits or attributes`)
  const { makerTree, maker } = await openMaker(given, architecture, spool)
  const image = path.join(work, 'image')
  await makeFileSystem({ entries, spool, makerTree, architecture, image, signal })
  const digest = fileDigest(image)
  const known = knownImage(store.folder, digest, given.signer.publicKey)
  if (known) {
    note(`${name}: equal to an image in the store`)
    store.tag(digest, name)
    return known
  }
  const contents = declaredContents(tree, spool)
  const at = given.now()
  const about = 'Imported from an OCI layout'
  const sbom = contents && sbomOf({ digest, name, about, at, contents })
  if (!contents) note(`${name}: it lists no Debian packages, so it cannot be scanned`)
  return addImage(
    { ...given, file: image, entries, sbom, tags: [name] },
    {
      name,
      function: about,
      digest,
      suite: contents?.suite ?? '',
      architecture,
      packages: [],
      programs: [],
      origin,
      maker,
      at,
    },
  )
}

/** Image with these bytes in the store: a built image keeps its manifest. */
function knownImage(folder: string, digest: string, key: string): SignedManifest | undefined {
  if (!existsSync(path.join(folder, 'manifests', `${digest}.json`))) return undefined
  const image = findImage(folder, digest)
  return whyImageBroken(image, key) === undefined ? image.signed : undefined
}

async function readImage(given: OciImportIn, architecture: Architecture, spool: Spool) {
  const layout = await openLayout(given.place, path.join(given.work, 'layout'))
  const descriptor = chosenManifest(layout, architecture, given.ref)
  const manifest = parsed(manifestSchema, layout.json(descriptor), 'its manifest')
  const config = parsed(configSchema, layout.json(manifest.config), 'its configuration')
  if (config.architecture !== architecture)
    throw new MayflyError('UNAVAILABLE', `Cannot import an image of "${config.architecture}" here`)
  const ids = config.rootfs.diff_ids
  if (ids.length !== manifest.layers.length)
    throw new RangeError('its configuration and its manifest have different numbers of layers')
  const tree = new LayerTree()
  for (const [at, layer] of manifest.layers.entries()) {
    given.signal?.throwIfAborted()
    await readLayer(layout, layer, ids[at]!, { tree, spool })
  }
  const origin = {
    kind: 'oci' as const,
    manifest: descriptor.digest.slice(7),
    config: manifest.config.digest.slice(7),
    layers: ids.map((one) => one.slice(7)),
  }
  return { tree, entries: tree.sorted(), origin }
}

/** The only manifest of this architecture, or the one named by `ref`. A nested index is followed one level deep. */
function chosenManifest(
  layout: OciLayout,
  architecture: string,
  ref: string | undefined,
): OciDescriptor {
  const refOf = ({ annotations }: OciDescriptor) =>
    annotations?.['org.opencontainers.image.ref.name']
  const named = layout.index.manifests.filter((one) => ref === undefined || refOf(one) === ref)
  const all = named.flatMap((one) =>
    indexTypes.has(one.mediaType)
      ? parsed(indexSchema, layout.json(one), 'an index of it').manifests
      : [one],
  )
  if (all.length > manifestsMax) throw new RangeError('its index has too many manifests')
  const fitting = all.filter(
    ({ mediaType, platform }) =>
      manifestTypes.has(mediaType) &&
      (!platform || (platform.os === 'linux' && platform.architecture === architecture)),
  )
  const [first] = fitting
  if (first && fitting.length === 1) return first
  const refs = layout.index.manifests.flatMap((one) => refOf(one) ?? [])
  throw new MayflyError(
    first ? 'INVALID' : 'NOT_FOUND',
    `Cannot choose an image to import: ${fitting.length} of its index are for linux on ${architecture}`,
    { hint: `Name one with --ref: ${refs.slice(0, 10).join(', ') || 'its index names none'}` },
  )
}

/** Reads a layer once: the blob is hashed before decompression, and the stream after it. */
async function readLayer(
  layout: OciLayout,
  layer: OciDescriptor,
  diffId: string,
  { tree, spool }: { readonly tree: LayerTree; readonly spool: Spool },
): Promise<void> {
  const match = layerType.exec(layer.mediaType)
  if (!match) throw new RangeError(`layer ${layer.digest} is of type "${layer.mediaType}"`)
  let [blob, stream] = ['', '']
  const reader = new TarReader(
    {
      entry(entry) {
        if (spool.size + entry.size > layerBytesMax)
          throw new RangeError('its layers are too large')
        tree.add(entry, spool.size)
      },
      data: (bytes) => spool.write(bytes),
    },
    { pax: true, entriesMax },
  )
  const parse = async (source: AsyncIterable<Buffer>) => {
    let size = 0
    for await (const chunk of hashed(source, (hex) => (stream = hex))) {
      size += chunk.length
      if (size > layerBytesMax) throw new RangeError('its layers are too large')
      reader.push(chunk)
    }
    reader.end()
  }
  using file = layout.open(layer)
  const pieces = hashed(piecesOf(file), (hex) => (blob = hex))
  await readInflated(pieces, inflaterFor(match[1]), parse)
  if (`sha256:${blob}` !== layer.digest)
    throw new RangeError(`the SHA-256 of layer ${layer.digest} does not match`)
  if (`sha256:${stream}` !== diffId)
    throw new RangeError(`layer ${layer.digest} does not match the digest in the configuration`)
  tree.endLayer()
}

function inflaterFor(word: string | undefined) {
  if (word === 'gzip') return createGunzip()
  return word === 'zstd' ? createZstdDecompress() : undefined
}
