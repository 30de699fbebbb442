import { createHash } from 'node:crypto'
import { fstatSync, lstatSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import * as z from 'zod'
import {
  type FileDescriptor,
  openDescriptor,
  openToRead,
  piecesOf,
  readAt,
} from '../lib/file-descriptor.ts'
import { sha256 } from '../lib/hash.ts'
import { readStrictJson } from '../lib/strict-json.ts'
import { inflaterOf, readInflated, readPlainTar } from './plain-tar.ts'

/**
 * Reads an OCI image layout (image-spec 1.1): a folder with `oci-layout`, `index.json` and `blobs/sha256/HEX`, or a
 * tar archive of one. Blobs are opened without following links, and each must have the size and SHA-256 of its
 * descriptor. From an archive, only these files are copied into a scratch folder. Refused: digests other than SHA-256,
 * archives with links, duplicate paths, and anything over a limit.
 */
export interface OciLayout {
  /** Parsed JSON of a descriptor's blob. Throws RangeError. */
  json(descriptor: OciDescriptor): unknown
  /** Opens a blob of the right size; the reader has to check its digest. */
  open(descriptor: OciDescriptor): FileDescriptor
  readonly index: OciIndex
}

const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/, 'expected a digest of SHA-256')
const blobBytesMax = 2 ** 32
export const descriptorSchema = z.object({
  mediaType: z.string().max(255),
  digest,
  size: z.number().int().min(0).max(blobBytesMax),
  annotations: z.record(z.string(), z.string()).optional(),
  platform: z.object({ os: z.string(), architecture: z.string() }).optional(),
})
export type OciDescriptor = z.infer<typeof descriptorSchema>

export const indexSchema = z.object({
  schemaVersion: z.literal(2),
  manifests: z.array(descriptorSchema).max(1000),
})
type OciIndex = z.infer<typeof indexSchema>
const versionSchema = z.object({ imageLayoutVersion: z.literal('1.0.0') })

const jsonBytesMax = 4 * 2 ** 20
/** Limit of JSON bytes of all descriptors together: an index may refer to a thousand others. */
const jsonBytesInAllMax = 2 ** 26
const archiveBytesMax = 2 ** 33
const archiveEntriesMax = 10_000
const depthMax = 32

/** Opens a folder, or an archive via `scratch`. Throws RangeError and file system errors. */
export async function openLayout(place: string, scratch: string): Promise<OciLayout> {
  const stats = lstatSync(place)
  if (!stats.isDirectory() && !stats.isFile())
    throw new RangeError('it is neither a folder nor a file')
  if (stats.isFile()) await unpackLayout(place, scratch)
  const root = stats.isFile() ? scratch : place
  const blob = (hex: string) => path.join(root, 'blobs', 'sha256', hex)
  for (const folder of ['blobs', 'blobs/sha256'])
    if (!lstatSync(path.join(root, folder), { throwIfNoEntry: false })?.isDirectory())
      throw new RangeError(`it has no folder "${folder}"`)
  parsed(versionSchema, jsonOf(smallFile(path.join(root, 'oci-layout'))), 'oci-layout')
  const index = parsed(indexSchema, jsonOf(smallFile(path.join(root, 'index.json'))), 'index.json')
  let jsonBytes = 0
  const open = ({ digest: named, size }: OciDescriptor) => {
    const file = openPlain(blob(named.slice(7)), named)
    if (fstatSync(file.fd).size === size) return file
    file[Symbol.dispose]()
    throw new RangeError(`the size of blob ${named} does not match its descriptor`)
  }
  return {
    index,
    open,
    json(descriptor) {
      if (descriptor.size > jsonBytesMax)
        throw new RangeError(`blob ${descriptor.digest} is too large`)
      jsonBytes += descriptor.size
      if (jsonBytes > jsonBytesInAllMax) throw new RangeError('its indexes are too large')
      using file = open(descriptor)
      const bytes = Buffer.concat([...piecesOf(file)])
      if (`sha256:${sha256(bytes)}` !== descriptor.digest)
        throw new RangeError(`the SHA-256 of blob ${descriptor.digest} does not match`)
      return jsonOf(bytes)
    },
  }
}

/** Validates a value by a schema. Throws RangeError with the position of the error. */
export function parsed<T>(schema: z.ZodType<T>, value: unknown, name: string): T {
  const read = schema.safeParse(value)
  if (read.success) return read.data
  const [issue] = read.error.issues
  throw new RangeError(`${name}: ${issue?.path.join('.')}: ${issue?.message}`)
}

function jsonOf(bytes: Buffer): unknown {
  return readStrictJson(bytes, { depthMax }).value
}

function smallFile(file: string): Buffer {
  using descriptor = openPlain(file, path.basename(file))
  if (fstatSync(descriptor.fd).size > jsonBytesMax)
    throw new RangeError(`"${path.basename(file)}" is too large`)
  return Buffer.concat([...piecesOf(descriptor)])
}

function openPlain(file: string, name: string): FileDescriptor {
  if (!lstatSync(file, { throwIfNoEntry: false })?.isFile())
    throw new RangeError(`"${name}" is missing, or not a regular file`)
  return openToRead(file)
}

async function unpackLayout(file: string, scratch: string): Promise<void> {
  mkdirSync(path.join(scratch, 'blobs', 'sha256'), { recursive: true, mode: 0o700 })
  using input = openPlain(file, path.basename(file))
  const inflate = inflaterOf(readAt(input.fd, 0, 4))
  await readInflated(piecesOf(input), inflate, (source) => copyLayout(source, scratch))
}

async function copyLayout(source: AsyncIterable<Buffer>, scratch: string): Promise<void> {
  let output: FileDescriptor | undefined
  const close = () => {
    output?.[Symbol.dispose]()
    output = undefined
  }
  try {
    await readPlainTar(source, {
      entriesMax: archiveEntriesMax,
      bytesMax: archiveBytesMax,
      file(place) {
        close()
        if (/^(?:oci-layout|index\.json|blobs\/sha256\/[0-9a-f]{64})$/.test(place))
          output = openDescriptor(path.join(scratch, place), 'wx', 0o600)
      },
      data(bytes) {
        if (output) writeFileSync(output.fd, bytes)
      },
    })
  } finally {
    close()
  }
}

/** Passes bytes through and hashes them. */
export async function* hashed(
  source: AsyncIterable<Buffer> | Iterable<Buffer>,
  take: (hex: string) => void,
): AsyncGenerator<Buffer> {
  const hash = createHash('sha256')
  for await (const chunk of source) {
    hash.update(chunk)
    yield chunk
  }
  take(hash.digest('hex'))
}
