import { isUtf8 } from 'node:buffer'
import type { Server } from '@modelcontextprotocol/server'
import { attempt } from '../lib/attempt.ts'
import { sanitiseLine } from '../output/sanitise.ts'
import { imageType } from './file-answer.ts'
import type { KeptFile } from './kept-files.ts'
import { serverSdk } from './protocol-sdk.ts'
import type { ToolHost } from './tool-host.ts'

const SCHEME = 'mayfly://files/'
/** Revision of the protocol that brought links to resources. */
const LINKS_SINCE = '2025-06-18'
/** A longer one is left out: a guest chooses the paths. */
const URI_CHARACTERS_MAX = 1000
/** Links in one answer. */
const LINKS_MAX = 20

/** Resource of the protocol, as lists and links describe it. */
export interface FileResource {
  readonly uri: string
  readonly name: string
  readonly mimeType: string
  readonly size: number
}

/** Serves the files of earlier calls of this caller as resources. */
export function serveResources(server: Server, host: ToolHost): void {
  const { ResourceNotFoundError } = serverSdk()
  server.setRequestHandler('resources/list', () => ({
    resources: host.kept.list().flatMap(resourceOf),
  }))
  server.setRequestHandler('resources/templates/list', () => ({ resourceTemplates: [] }))
  server.setRequestHandler('resources/read', ({ params: { uri } }) => {
    const { run, path } = namedBy(uri) ?? {}
    const bytes = run && path ? host.readKept(run, path) : undefined
    if (!bytes) throw new ResourceNotFoundError(uri.slice(0, URI_CHARACTERS_MAX))
    const { mimeType, isText } = kindOf(bytes)
    const content = Buffer.from(bytes)
    return {
      contents: [
        {
          uri,
          mimeType,
          ...(isText ? { text: content.toString() } : { blob: content.toString('base64') }),
        },
      ],
    }
  })
}

/** Links to the files of a run, for clients whose revision of the protocol has links. */
export function linksTo(run: string, host: ToolHost, revision = ''): readonly FileResource[] {
  if (revision < LINKS_SINCE) return []
  const own = host.kept.list().filter((one) => one.run === run)
  return own.flatMap(resourceOf).slice(0, LINKS_MAX)
}

function resourceOf({ run, path, bytes }: KeptFile): readonly FileResource[] {
  const uri = attempt(() => `${SCHEME}${run}/${encodeURIComponent(path)}`)
  if (uri === undefined || uri.length > URI_CHARACTERS_MAX) return []
  const { mimeType } = kindOf(bytes)
  return [{ uri, name: sanitiseLine(path), mimeType, size: bytes.length }]
}

function namedBy(uri: string): Pick<KeptFile, 'run' | 'path'> | undefined {
  const [, run, encoded] = /^mayfly:\/\/files\/([\w-]+)\/([^/]+)$/.exec(uri) ?? []
  const path = encoded && attempt(() => decodeURIComponent(encoded))
  return run && path ? { run, path } : undefined
}

/** Type by content. Text of a guest is plain, so that no client renders it as a page. */
function kindOf(bytes: Uint8Array): { readonly mimeType: string; readonly isText: boolean } {
  const image = imageType(bytes)
  const isText = image === undefined && isUtf8(bytes)
  return { mimeType: image ?? (isText ? 'text/plain' : 'application/octet-stream'), isText }
}
