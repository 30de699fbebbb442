import { isIP } from 'node:net'
import { relative } from 'node:path'
import { addressKind } from '../contract/address.ts'
import type { FolderRefusal } from '../contract/folder.ts'
import { isBelow } from '../lib/is-below.ts'
import { shellWord } from '../lib/shell-word.ts'

const DONE: Readonly<Record<FolderRefusal['what'], string>> = {
  read: 'read of',
  write: 'write to',
  name: 'make, move or remove',
  connect: 'connect to',
}

const UNKEPT_NAMED = 3

/** Text of a refusal on one line: the access, the rule, and how to allow it. */
export function refusalText(refusal: FolderRefusal, folder: string): string {
  const { what, rule, name, program } = refusal
  const path = shortPath(refusal.path, folder)
  const asker = program === undefined ? '' : `, asked for by ${program}`
  return `refused: ${DONE[what]} ${path} (${rule}: ${name}${asker}); ${howToAllow(refusal, path)}`
}

function shortPath(path: string, folder: string): string {
  return isBelow(path, folder) && path !== folder ? relative(folder, path) : path
}

function howToAllow({ rule, what, name }: FolderRefusal, path: string): string {
  if (rule === 'protected')
    return 'no flag opens it: ask the user to make this change outside of mayfly exec'
  if (rule === 'secret')
    return what === 'read'
      ? `"--read ${shellWord(path)}" permits reading it`
      : 'no flag permits writing it: ask the user'
  if (rule === 'stream')
    return 'it may be used as it was given: open a file of the folder by its name'
  if (rule === 'denied') return 'a flag, the settings or the configuration close it'
  if (rule === 'network')
    return name === 'closed'
      ? `"--allow ${path}" permits it by https, "--allow *://${path}:PORT" on another port`
      : '"--allow HOST" permits a host by its name'
  return 'only sockets of the command itself can be reached below /tmp'
}

/** Text of files that end with the command, on one line; `writable` is their folder, if a flag keeps it. */
export function unkeptText(
  paths: readonly string[],
  folder: string,
  writable: string | undefined,
): string {
  const names = paths
    .toSorted()
    .slice(0, UNKEPT_NAMED)
    .map((path) => nearPath(path, folder))
  const more = paths.length > names.length ? ' and others' : ''
  const flag =
    writable === undefined ? '' : `, or "--write ${shellWord(nearPath(writable, folder))}" keeps it`
  return `not kept: ${names.join(', ')}${more}: written to a folder in memory, gone with the command; write below this folder${flag}`
}

/** As a path next to the folder, if it is one. */
function nearPath(path: string, folder: string): string {
  const near = relative(folder, path)
  return near.startsWith('../../') ? path : near
}

/** Text of a refused connection on one line. */
export function networkRefusalText(host: string, port: number, because: string): string {
  return `refused: connect to ${host}:${port} (${because}); ${howToConnect(host, port, because)}`
}

function howToConnect(host: string, port: number, because: string): string {
  const { kind } = isIP(host) === 0 ? { kind: 'public' } : addressKind(host)
  if (kind === 'never') return 'this address is never reachable'
  if (kind === 'private') return 'a rule of the configuration with private = true permits it'
  if (because.includes('" is not public, which'))
    return 'for a private address a rule of the configuration with private = true permits it; reserved ones and those of this machine are never reached by name'
  return `"--allow ${patternOf(host, port)}" permits it, if the configuration does`
}

/** A pattern without a scheme means https. */
function patternOf(host: string, port: number): string {
  const name = isIP(host) === 6 ? `[${host}]` : host
  if (port === 443) return name
  return port === 80 ? `http://${name}` : `*://${name}:${port}`
}
