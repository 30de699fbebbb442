import { isIP } from 'node:net'
import { relative } from 'node:path'
import { addressKind } from '../contract/address.ts'
import type { FolderRefusal } from '../contract/folder.ts'
import { isBelow } from '../lib/is-below.ts'

const DONE: Readonly<Record<FolderRefusal['what'], string>> = {
  read: 'read of',
  write: 'write to',
  name: 'make, move or remove',
  connect: 'connect to',
}

/** A refusal, its rule and the way on, in one line. */
export function refusalText(refusal: FolderRefusal, folder: string): string {
  const { what, rule, name } = refusal
  const path = shortPath(refusal.path, folder)
  return `refused: ${DONE[what]} ${path} (${rule}: ${name}); ${wayOn(refusal, path)}`
}

function shortPath(path: string, folder: string): string {
  return isBelow(path, folder) && path !== folder ? relative(folder, path) : path
}

function wayOn({ rule, what }: FolderRefusal, path: string): string {
  if (rule === 'protected')
    return 'no flag opens it: ask the user to make this change outside of mayfly exec'
  if (rule === 'secret')
    return what === 'read'
      ? `"--read ${path}" lets it be read`
      : 'no flag opens it to changes: ask the user'
  if (rule === 'denied') return 'a flag, the settings or the configuration close it'
  return 'sockets below /tmp are the command’s own'
}

/** The same for a host. */
export function networkRefusalText(host: string, port: number, because: string): string {
  return `refused: connect to ${host}:${port} (${because}); ${wayOut(host, port)}`
}

function wayOut(host: string, port: number): string {
  const { kind } = isIP(host) === 0 ? { kind: 'public' } : addressKind(host)
  if (kind === 'never') return 'nothing lets out there'
  if (kind === 'private') return 'a rule of the configuration with private = true lets it out'
  return `"--allow ${patternOf(host, port)}" lets it out, if the configuration does`
}

/** A bare host is https. */
function patternOf(host: string, port: number): string {
  const name = isIP(host) === 6 ? `[${host}]` : host
  if (port === 443) return name
  return port === 80 ? `http://${name}` : `*://${name}:${port}`
}
