import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { MayflyError } from '../contract/error.ts'
import type { ClosedPath, FolderBind, FolderGrant } from '../contract/folder.ts'
import { isBelow } from '../lib/is-below.ts'
import { variablesFor } from './environment.ts'
import { gitSurroundings } from './git.ts'
import { closedByHiding, notesOfHiding, withoutHidden, type HiddenPaths } from './hidden.ts'
import { canonicalPath } from '../lib/real-path.ts'
import { absolutePath, existingPath } from './paths.ts'
import { noRules, type FolderRules } from './settings.ts'
import { toolBinds } from './tools.ts'

/** Requests of a command line, without settings. */
export interface FolderRequest {
  readonly write: readonly string[]
  readonly read: readonly string[]
  readonly deny: readonly string[]
  readonly env: readonly string[]
  readonly rules?: FolderRules | undefined
}

/** Environment of a request, with Mayfly's own paths in it. */
export interface FolderSituation {
  /** Canonical. */
  readonly folder: string
  readonly home: string | undefined
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Folders of state and caches: closed. */
  readonly state: readonly string[]
  /** Files and folders of the Mayfly installation: read-only, because later runs execute them. */
  readonly programs: readonly string[]
}

export interface MadeGrant {
  readonly grant: FolderGrant
  /** Notes for the caller, one sentence each. */
  readonly notes: readonly string[]
  /** True if `--write` may name this folder, which is no temporary one. */
  readonly mayWrite: (place: string) => boolean
}

/** System folders: never writable, and never the folder of a command. */
const SYSTEM = ['/usr', '/bin', '/sbin', '/lib', '/lib64', '/etc', '/boot', '/dev', '/proc', '/sys']
const NEVER_SHOWN = ['.ssh', '.aws', '.gnupg', '.azure', '.kube', '.docker', '.config/gcloud']
/** Folders that each wall has of its own. */
const IN_MEMORY = ['/tmp', '/var/tmp', '/dev/shm']
const TEMPORARY = ['TMPDIR', 'TMP', 'TEMP']
const CACHES = ['.cache/mayfly', '.local/state/mayfly', '.local/state/mayfly-warden']

/**
 * Makes the grant of a command in a folder. Throws MayflyError USAGE for a request that is too wide, or names a
 * missing path.
 */
export function folderGrant(asked: FolderRequest, at: FolderSituation): MadeGrant {
  const { rules = noRules } = asked
  assertNarrow(at)
  const git = gitSurroundings(at)
  const { variables, leftOut } = variablesFor(at.environment, asked.env, rules.withoutVariables)
  const writable = [...asked.write.map((one) => mustExist(one, at)), ...whatExists(rules.write, at)]
  const readable = [...asked.read.map((one) => mustExist(one, at)), ...whatExists(rules.read, at)]
  for (const place of writable) assertWritable(place, at)
  for (const place of readable) assertReadable(place, at)
  const places = hiddenPlaces(rules, at)
  const isWritable = isWritableBy(rules, at)
  const binds = mergedBinds([
    { path: at.folder, isWritable: isWritable(at.folder) },
    ...writable.map((path) => ({ path, isWritable: true })),
    ...readable.map((path) => ({ path, isWritable: false })),
    ...withoutHidden(
      [
        ...git.binds.map((one) => ({ ...one, isWritable: isWritable(one.path) })),
        ...toolBinds(at.environment['PATH'] ?? '', at.home),
      ],
      places,
    ),
  ])
  const hidden = closedByHiding(places, at.folder, binds)
  return {
    grant: {
      folder: at.folder,
      home: at.home,
      binds,
      closed: [
        ...closedFor(asked, rules, at),
        ...hidden,
        ...git.closed,
        ...writablePrograms(binds, at),
      ],
      lifted: readable,
      secretNames: rules.secretNames,
      variables: {
        ...variables,
        ...git.variables,
        ...temporaryFolders(variables, binds, at.home),
        ...namedVariables(asked.env, variables),
        PWD: at.folder,
      },
      given: asked.env.map(nameIn),
    },
    notes: [...rules.notes, ...notesOfHiding(places, hidden), ...notesOf(leftOut)],
    mayWrite: (place) => !IN_MEMORY.includes(place) && mayWrite(place, at),
  }
}

/** If settings list writable paths, the folder and its worktree repository are writable only if listed. */
function isWritableBy(rules: FolderRules, at: FolderSituation): (path: string) => boolean {
  if (rules === noRules) return () => true
  const places = whatExists(rules.write, at)
  return (path) => places.some((place) => isBelow(path, place))
}

function hiddenPlaces({ hidden, read, write }: FolderRules, at: FolderSituation): HiddenPaths {
  const canonical = (written: string) => canonicalPath(absolutePath(written, at))
  return { hidden: hidden.map(canonical), shownAgain: [...read, ...write].map(canonical) }
}

/** Variables of `--env` override those set for git. */
function namedVariables(
  given: readonly string[],
  variables: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const names = given.map(nameIn)
  return Object.fromEntries(
    names.flatMap((name) => (variables[name] === undefined ? [] : [[name, variables[name]]])),
  )
}

/** Temporary folders outside of what the command may write do not exist in the wall: its own `/tmp` replaces them. */
function temporaryFolders(
  variables: Readonly<Record<string, string>>,
  binds: readonly FolderBind[],
  home: string | undefined,
): Readonly<Record<string, string>> {
  const exist = [...IN_MEMORY, ...(home === undefined ? [] : [home])]
  const isThere = (path: string) =>
    exist.includes(path) ||
    (existsSync(path) && binds.some((one) => one.isWritable && isBelow(path, one.path)))
  return Object.fromEntries(
    TEMPORARY.flatMap((name) => {
      const path = variables[name]
      return !path || isThere(canonicalPath(path)) ? [] : [[name, '/tmp']]
    }),
  )
}

const nameIn = (text: string) => text.split('=')[0]!

function notesOf(leftOut: readonly string[]): readonly string[] {
  if (leftOut.length === 0) return []
  return [`Environment variables not passed: ${leftOut.join(', ')} ("--env NAME" passes one)`]
}

/** Refuses a folder that would show HOME or the system as a whole. */
function assertNarrow(at: FolderSituation): void {
  const { folder, home } = at
  const isWide = folder === '/' || (home !== undefined && isBelow(home, folder))
  const closed = [...SYSTEM, ...neverShown(at)]
  if (!isWide && !closed.some((place) => isBelow(folder, place))) return
  throw new MayflyError('USAGE', `Cannot run in "${folder}": it is not a project folder`, {
    hint: 'Go to a folder below your home: the command can read and write all of it',
  })
}

function mustExist(written: string, at: FolderSituation): string {
  const found = existingPath(absolutePath(written, at))
  if (found !== undefined) return found
  throw new MayflyError('USAGE', `Cannot find "${written}"`, {
    hint: 'Create it first: only existing paths can be mounted',
  })
}

/** Ignores missing paths of settings, as sandbox-runtime does. */
function whatExists(written: readonly string[], at: FolderSituation): readonly string[] {
  return written.flatMap((one) => existingPath(absolutePath(one, at)) ?? [])
}

function assertWritable(place: string, at: FolderSituation): void {
  assertReadable(place, at)
  const isWide = at.home !== undefined && isBelow(at.home, place)
  const isSystem = SYSTEM.some((folder) => isBelow(place, folder) || isBelow(folder, place))
  if (isWide || isSystem) throw tooWide('write', place)
}

function mayWrite(place: string, at: FolderSituation): boolean {
  try {
    assertWritable(place, at)
    return true
  } catch {
    return false
  }
}

function assertReadable(place: string, at: FolderSituation): void {
  const hidden = neverShown(at).find((folder) => isBelow(place, folder))
  if (hidden !== undefined) throw tooWide('show', place)
  if (place === '/' || ['/proc', '/sys', '/dev'].some((folder) => isBelow(place, folder)))
    throw tooWide('show', place)
}

function tooWide(what: string, place: string): MayflyError {
  return new MayflyError('USAGE', `Cannot ${what} "${place}": no flag opens it`)
}

function neverShown({ home, state }: FolderSituation): readonly string[] {
  const own = home === undefined ? [] : [...NEVER_SHOWN, ...CACHES].map((name) => join(home, name))
  return [...own, ...state.map((place) => canonicalPath(place))]
}

function closedFor(
  { deny }: FolderRequest,
  rules: FolderRules,
  at: FolderSituation,
): readonly ClosedPath[] {
  const paths = (written: string) => pathAndTarget(absolutePath(written, at))
  const denied = deny.flatMap(paths)
  if (denied.some((place) => isBelow(at.folder, place)))
    throw new MayflyError('USAGE', `Cannot deny "${at.folder}": the command runs in it`)
  return [
    ...neverShown(at).map((place) => ({ path: place, to: 'all' as const })),
    ...denied.map((place) => ({ path: place, to: 'all' as const })),
    ...rules.closed.flatMap(({ path: written, to }) =>
      paths(written).map((path) => ({ path, to })),
    ),
  ]
}

/** The path as written too: links on the way can be replaced, and the name could come to lead elsewhere. */
function pathAndTarget(absolute: string): readonly string[] {
  return [...new Set([absolute, canonicalPath(absolute)])]
}

/**
 * Mayfly's own programs inside a writable folder, such as a Mayfly in `node_modules`: made read-only, because later
 * runs execute them.
 */
function writablePrograms(
  binds: readonly FolderBind[],
  { programs }: FolderSituation,
): readonly ClosedPath[] {
  const places = new Set(programs.flatMap(pathAndTarget))
  const isChangeable = (place: string) =>
    binds.some(({ path, isWritable }) => isWritable && isBelow(place, path) && place !== path)
  return [...places].filter(isChangeable).map((path) => ({ path, to: 'write' }))
}

/** Drops binds that lie inside another one, except writable ones inside a read-only one. */
function mergedBinds(binds: readonly FolderBind[]): readonly FolderBind[] {
  const unique = binds.filter(
    (one, index) =>
      !binds.some(
        (other, at) =>
          at !== index &&
          isBelow(one.path, other.path) &&
          (other.isWritable || !one.isWritable) &&
          (one.path !== other.path || other.isWritable !== one.isWritable || at < index),
      ),
  )
  return unique.toSorted((a, b) => a.path.length - b.path.length)
}
