import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { chownSync, closeSync, lchownSync, lstatSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { serverUid } from '../contract/uids.ts'
import { layerFolder, layerFolderFor } from '../lib/cache-folder.ts'
import { makeFolder } from '../lib/make-folder.ts'
import { wardenFolder } from '../lib/state-folder.ts'
import { findProgram } from '../os/find-program.ts'
import { mappedUids } from '../os/proc.ts'
import { openArtifacts } from './artifacts-folder.ts'

/**
 * Starts the server as the warden's first child. As root it gets a uid of its own (setpriv, no_new_privs) that owns the
 * state folder; with PR_SET_PDEATHSIG it dies with the warden.
 */
export interface ServerOptions {
  readonly argv: readonly string[]
  readonly bin: string
  readonly stateFolder: string
}

/** Role of the server, passed in its environment. */
export interface Role {
  readonly kind: 'server'
  /** Cause for which it kept the caller's uid; null where it did not. */
  readonly keptUid: string | null
  readonly swept: number
  /** Folder that the server denies itself by Landlock; null if uids deny it already, undefined if neither is possible. */
  readonly shutOut: string | null | undefined
  /** Descriptor of the folder of `--artifacts`, which its uid could not reach or make. */
  readonly artifactsFd?: number
  /** Folder for layers of packages; left out where it has none. */
  readonly layers?: string
}

const ROOT = 0
/** Descriptor after the IPC channel. */
const ARTIFACTS_FD = 4
/** Half of V8's default: the server's garbage is short-lived, and a gateway should stay small. */
const SERVER_FLAGS = ['--max-semi-space-size=4']

export interface Dropped {
  readonly setpriv: string | undefined
  readonly uid: number | undefined
  readonly why: string | null
}

/** As root the server gets a uid of its own, which then owns the state folder; unless it could not read the code. */
export function dropTo(options: ServerOptions): Dropped {
  const setpriv = findProgram('setpriv')
  const isRoot = process.getuid?.() === 0 && mappedUids() > serverUid
  if (!isRoot) return { setpriv, uid: undefined, why: null }
  if (!setpriv) return { setpriv, uid: undefined, why: 'setpriv is missing' }
  giveState(options.stateFolder, serverUid)
  const become = ['--reuid', `${serverUid}`, '--regid', `${serverUid}`, '--clear-groups', '--']
  const reach = [
    'test',
    '-x',
    process.execPath,
    '-a',
    '-r',
    options.bin,
    '-a',
    '-w',
    options.stateFolder,
  ]
  const { status } = spawnSync(setpriv, [...become, ...reach], { stdio: 'ignore' })
  // Other commands take the owner of the folder for the server's uid.
  if (status !== 0) giveState(options.stateFolder, ROOT)
  return status === 0
    ? { setpriv, uid: serverUid, why: null }
    : { setpriv, uid: undefined, why: `uid ${serverUid} cannot reach the code or the state folder` }
}

function giveState(folder: string, uid: number): void {
  chownSync(folder, uid, uid)
  for (const name of readdirSync(folder)) {
    const place = path.join(folder, name)
    // A hard link to a file of another user would give that file away.
    if (name !== 'warden' && !isNamedTwice(place)) lchownSync(place, uid, uid)
  }
}

/** The key's folder, unless it is inside the state folder: Landlock would then deny files that the server makes there later. */
function folderBesideState(stateFolder: string): string | undefined {
  const folder = wardenFolder(stateFolder)
  return folder.startsWith(stateFolder + path.sep) ? undefined : folder
}

/** Layer folder, owned by root: the server's uid may write to it, others may not list it. */
function makeLayerFolder(uid: number | undefined): string | undefined {
  try {
    if (uid === undefined) return layerFolder()
    const folder = layerFolderFor(uid)
    makeFolder(folder, 0o711)
    const { uid: owner } = lstatSync(folder)
    if (owner !== uid) lchownSync(folder, uid, uid)
    return folder
  } catch {
    return undefined
  }
}

function isNamedTwice(place: string): boolean {
  const facts = lstatSync(place)
  return facts.isFile() && facts.nlink > 1
}

export function startServer(
  options: ServerOptions,
  { setpriv, uid, why }: Dropped,
  swept: number,
): ChildProcess {
  const shutOut = uid === undefined ? folderBesideState(options.stateFolder) : null
  const layers = makeLayerFolder(uid)
  const folder = uid === undefined ? undefined : openArtifacts(options.argv, uid)
  const role: Role = {
    kind: 'server',
    keptUid: why,
    swept,
    shutOut,
    ...(layers !== undefined && { layers }),
    ...(folder !== undefined && { artifactsFd: ARTIFACTS_FD }),
  }
  const become =
    uid === undefined
      ? []
      : ['--reuid', `${uid}`, '--regid', `${uid}`, '--clear-groups', '--no-new-privs']
  const node = [process.execPath, ...SERVER_FLAGS, options.bin, ...options.argv]
  const all = setpriv ? [setpriv, ...become, '--pdeathsig', 'KILL', '--', ...node] : node
  const server = spawn(all[0]!, all.slice(1), {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc', ...(folder === undefined ? [] : [folder])],
    // Without MAYFLY_STATE the server would use the folder of its own uid, another than the caller's.
    env: {
      ...process.env,
      MAYFLY_STATE: options.stateFolder,
      MAYFLY_ROLE: JSON.stringify(role),
    },
  })
  if (folder !== undefined) closeSync(folder)
  return server
}
