import { constants } from 'node:fs'
import { open, realpath, type FileHandle } from 'node:fs/promises'
import { extname, join, sep } from 'node:path'
import { Readable } from 'node:stream'
import { getMimeType } from 'hono/utils/mime'
import { MayflyError } from '../../contract/error.ts'
import { isBelow } from '../../lib/is-below.ts'
import { realPath } from '../../lib/real-path.ts'
import { segmentsOf } from './inspect-request.ts'
import { filePolicy, pagePolicy, withBootstrap } from '../doors/page.ts'

/**
 * Maximum size of a page, which is buffered to insert the bootstrap; files up to WHOLE_BYTES_MAX are read in one go.
 */
const PAGE_BYTES_MAX = 8 * 2 ** 20
const WHOLE_BYTES_MAX = 256 * 2 ** 10

/** Media types that hono lacks, or for which it has another one. */
const ownTypes: Readonly<Record<string, string>> = {
  '.md': 'text/markdown; charset=utf-8',
  '.py': 'text/x-python; charset=utf-8',
  '.svg': 'image/svg+xml',
  // TypeScript; hono maps it to MPEG.
  '.ts': 'application/octet-stream',
  '.xml': 'application/xml',
}

const common: Readonly<Record<string, string>> = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'x-frame-options': 'DENY',
  'permissions-policy': 'camera=(), geolocation=(), microphone=(), payment=(), usb=()',
}

export interface StaticRequest {
  /** Request target with its query. */
  readonly target: string
  readonly ifNoneMatch: string | undefined
  /** False for HEAD. */
  readonly body: boolean
}

export interface PageOptions {
  /** Issues a token for one load of the page at `path`; undefined if visitors get none. */
  readonly issue: (path: string) => string | undefined
  /** Further origins that pages may connect to. */
  readonly connect: readonly string[]
}

/** Folder whose files are served, below the path segment `under` if given. */
export interface ServedFolder {
  readonly folder: string
  readonly under?: string
  /** Folder that is never served, also if it equals this folder or is below it: the state folder, with its keys. */
  readonly closed?: string
}

/** Serves files of one folder, or of several in order of precedence. Resolves nothing outside of them. */
export class StaticFiles {
  readonly #served: readonly ServedFolder[]

  constructor(served: readonly ServedFolder[]) {
    this.#served = served
  }

  /** Throws MayflyError NOT_FOUND. */
  async answer(request: StaticRequest, pages: PageOptions): Promise<Response> {
    const segments = segmentsOf(request.target) ?? [missing()]
    for (const served of this.#served) {
      const { under } = served
      if (under !== undefined && segments[0] !== under) continue
      const within = under === undefined ? segments : segments.slice(1)
      const response = await answerFrom(served, within, request, pages)
      if (response) return response
    }
    return missing()
  }

  /** Page for a missing path, with status 404 and no token: the site's own `404.html`, or that of this server. */
  async missingPage(request: StaticRequest, connect: readonly string[]): Promise<Response> {
    const asked = { ...request, target: '/404.html', ifNoneMatch: undefined }
    const { body, headers } = await this.answer(asked, { issue: () => undefined, connect })
    headers.delete('etag')
    return new Response(body, { status: 404, headers })
  }
}

async function answerFrom(
  served: ServedFolder,
  segments: readonly string[],
  request: StaticRequest,
  pages: PageOptions,
): Promise<Response | undefined> {
  const isFolder = segments.at(-1) === ''
  const found = await openWithin(
    served,
    isFolder ? [...segments.slice(0, -1), 'index.html'] : segments,
  )
  if (found === 'folder') return redirect(request.target)
  if (!found) return undefined
  try {
    if (found.type.startsWith('text/html')) return await page(found, request, pages)
    return await file(found, request)
  } catch (thrown) {
    await found.handle.close()
    throw thrown
  }
}

interface OpenFile {
  readonly handle: FileHandle
  readonly size: number
  readonly etag: string
  readonly type: string
}

/** Opens a regular file that is inside the folder after all symlinks are resolved. */
async function openWithin(
  { folder, closed }: ServedFolder,
  segments: readonly string[],
): Promise<OpenFile | 'folder' | undefined> {
  const base = await realpath(folder)
  const real = await realpath(join(base, ...segments)).catch(() => undefined)
  if (real === undefined || !isInside(real, base)) return undefined
  if (closed !== undefined && isBelow(real, realPath(closed))) return undefined
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
  const handle = await open(real, flags).catch(() => undefined)
  if (!handle) return undefined
  const stats = await handle.stat({ bigint: true })
  if (!stats.isFile()) {
    await handle.close()
    return stats.isDirectory() ? 'folder' : undefined
  }
  const etag = `W/"${stats.mtimeNs.toString(36)}-${stats.size.toString(36)}-${stats.ino.toString(36)}"`
  return { handle, size: Number(stats.size), etag, type: typeOf(real) }
}

function typeOf(path: string): string {
  const ending = extname(path).toLowerCase()
  return ownTypes[ending] ?? getMimeType(`file${ending}`) ?? 'application/octet-stream'
}

/** Checks the resolved path, because a symlink may also lead to a dotfile inside the folder. */
function isInside(real: string, base: string): boolean {
  if (real === base) return true
  const prefix = base.endsWith(sep) ? base : base + sep
  return (
    real.startsWith(prefix) &&
    !real
      .slice(prefix.length)
      .split(sep)
      .some((part) => part.startsWith('.'))
  )
}

/** `no-store`, because a page contains its own token; a client that stored it may still revalidate by ETag. */
async function page(
  found: OpenFile,
  request: StaticRequest,
  pages: PageOptions,
): Promise<Response> {
  if (found.size > PAGE_BYTES_MAX)
    throw new MayflyError('TOO_LARGE', 'Cannot serve the page: it is too large')
  const source = await found.handle.readFile('utf8')
  await found.handle.close()
  const bare = withBootstrap(source, undefined, pages.connect[0])
  const headers = {
    ...common,
    'content-type': found.type,
    'content-security-policy': pagePolicy(bare, pages.connect),
    'cache-control': 'no-store',
    etag: found.etag,
  }
  if (matches(request.ifNoneMatch, found.etag)) return new Response(null, { status: 304, headers })
  const token = pages.issue(new URL(request.target, 'http://page').pathname)
  const bytes = Buffer.from(withBootstrap(source, token, pages.connect[0]))
  return new Response(request.body ? bytes : null, {
    headers: { ...headers, 'content-length': String(bytes.length) },
  })
}

async function file(found: OpenFile, request: StaticRequest): Promise<Response> {
  const headers = {
    ...common,
    'content-type': found.type,
    'content-security-policy': filePolicy(found.type),
    'cache-control': 'no-cache',
    etag: found.etag,
  }
  const isKept = matches(request.ifNoneMatch, found.etag)
  const length = isKept ? undefined : { 'content-length': String(found.size) }
  const init = { status: isKept ? 304 : 200, headers: { ...headers, ...length } }
  if (isKept || !request.body) {
    await found.handle.close()
    return new Response(null, init)
  }
  if (found.size > WHOLE_BYTES_MAX) return new Response(stream(found), init)
  const bytes = await found.handle.readFile()
  await found.handle.close()
  return new Response(bytes, {
    ...init,
    headers: { ...headers, 'content-length': String(bytes.length) },
  })
}

/** Ends at the size seen at open, so a growing file cannot exceed its content-length. */
function stream(found: OpenFile): ReadableStream {
  const end = found.size - 1
  return Readable.toWeb(
    found.handle.createReadStream({ end, highWaterMark: WHOLE_BYTES_MAX }),
  ) as ReadableStream
}

function matches(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false
  const weak = etag.slice(2)
  return ifNoneMatch.split(',').some((entry) => ['*', weak, etag].includes(entry.trim()))
}

/** Path-relative, so it cannot redirect to another host: empty segments were refused earlier. */
function redirect(target: string): Response {
  const [path = '/', query] = target.split('?', 2)
  const location = `${path}/${query === undefined ? '' : `?${query}`}`
  return new Response(null, { status: 308, headers: { ...common, location } })
}

function missing(): never {
  throw new MayflyError('NOT_FOUND', 'Cannot find this path')
}
