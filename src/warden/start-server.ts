import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import {
  closeSync,
  constants as fileConstants,
  fchownSync,
  fstatSync,
  lchownSync,
  lstatSync,
  readdirSync,
  statSync,
} from 'node:fs'
import { constants } from 'node:os'
import path from 'node:path'
import { MayflyError } from '../contract/error.ts'
import { serverUid } from '../contract/uids.ts'
import { layerFolder, layerFolderFor } from '../lib/cache-folder.ts'
import { openDescriptor, type FileDescriptor } from '../lib/file-descriptor.ts'
import { makeFolder } from '../lib/make-folder.ts'
import { makeStateFolder } from './make-state-folder.ts'
import { wardenFolder } from '../lib/state-folder.ts'
import { ownEnvironment } from '../lib/own-path.ts'
import { findProgram } from '../os/find-program.ts'
import { closeOnExecFrom } from '../os/libc.js'
import { oneHelperThread } from '../lib/node-flags.ts'
import { raisePriority } from '../os/priority.ts'
import { mappedUids } from '../os/proc.ts'
import { openArtifacts } from './artifacts-folder.ts'
import type { OperatorOptions } from './operator-programs.ts'
import { niceOf } from './nice.ts'

/**
 * Starts the server as the warden's first child. As root it gets a uid of its own (setpriv, no_new_privs) that owns the
 * state folder; with PR_SET_PDEATHSIG it dies with the warden. It keeps root's rights for reading the files of its command line
 * only if that uid was denied one of them, and gives them up before it joins the warden.
 */
export interface ServerOptions {
  readonly argv: readonly string[]
  readonly bin: string
  readonly stateFolder: string
  /** True for a command that ends after a single job. */
  readonly isOnce: boolean
  /** True if a file of the command is closed to the server's uid: the server reads as root before it becomes that user. */
  readonly readsAsRoot?: boolean
}

export interface StartedServer {
  readonly server: ChildProcess
  /** Resolves with the server's exit code when it has ended. */
  readonly ended: Promise<number>
  /** Operator programs that it may request, and their user. */
  readonly programs: OperatorOptions
}

/** Role of the server, passed in its environment. */
export interface Role {
  readonly kind: 'server'
  /** Reason why it kept the caller's uid; null if it did not. */
  readonly keptUid: string | null
  /** Folder that the server denies itself by Landlock; null if uids deny it already, undefined if neither is possible. */
  readonly shutOut: string | null | undefined
  /** Descriptor of the folder of `--artifacts`, which its uid may be unable to reach or create. */
  readonly artifactsFd?: number
  /** Rights that it still has as root: until it joins the warden; once it asks for them; none. */
  readonly rights?: 'root' | 'on request'
  /** Folder for layers of packages; omitted if there is none. */
  readonly layers?: string
}

const { O_DIRECTORY, O_NOFOLLOW } = fileConstants
const ROOT = 0
const FIRST_INHERITED = 3
/** Descriptor after the IPC channel. */
const ARTIFACTS_FD = 4
/**
 * Flags of Node, among them V8's young generation in MiB. A gateway should stay small: half of the default. A single run has one as
 * large as its start-up allocations, so it collects no garbage, which saves a tenth of its CPU time.
 */
export const serverFlags = {
  once: ['--min-semi-space-size=16'],
  server: ['--max-semi-space-size=4', oneHelperThread],
} as const

interface Dropped {
  readonly setpriv: string | undefined
  readonly uid: number | undefined
  readonly why: string | null
}

/** As root the server gets a uid of its own, which then owns the state folder, unless that uid cannot read the code. */
function dropTo(options: ServerOptions): Dropped {
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
  const { status } = spawnSync(setpriv, [...become, ...reach], {
    env: ownEnvironment(),
    stdio: 'ignore',
  })
  // Other commands derive the server's uid from the owner of the folder.
  if (status !== 0) giveState(options.stateFolder, ROOT)
  return status === 0
    ? { setpriv, uid: serverUid, why: null }
    : { setpriv, uid: undefined, why: `uid ${serverUid} cannot reach the code or the state folder` }
}

/**
 * Root gives folders of root's or of the server's own alone: the folder of another user would be taken from that user, and a
 * link in its place could name any folder of root's. Works on a descriptor, so that the folder is the one that was checked.
 */
function giveState(folder: string, uid: number): void {
  using directory = openGivable(folder)
  const { fd } = directory
  fchownSync(fd, uid, uid)
  const held = `/proc/self/fd/${fd}`
  for (const name of readdirSync(held)) {
    const place = path.join(held, name)
    // A hard link to a file of another user would give that file away.
    if (name !== 'warden' && !isNamedTwice(place)) lchownSync(place, uid, uid)
  }
}

function openGivable(folder: string): FileDescriptor {
  const link = lstatSync(folder)
  if (link.isSymbolicLink() && link.uid !== ROOT) throw ofAnother(folder, link.uid)
  const follow = link.isSymbolicLink() ? 0 : O_NOFOLLOW
  if (!statSync(folder).isDirectory()) throw noFolder(folder)
  const directory = openDescriptor(folder, O_DIRECTORY | follow)
  const { uid } = fstatSync(directory.fd)
  if (uid === ROOT || uid === serverUid) return directory
  directory[Symbol.dispose]()
  throw ofAnother(folder, uid)
}

function noFolder(folder: string): MayflyError {
  return new MayflyError('STATE', `Cannot use the state folder "${folder}": it is no folder`, {
    hint: 'Set "MAYFLY_STATE" to a folder, or to a path where one can be created',
  })
}

function ofAnother(folder: string, uid: number): MayflyError {
  return new MayflyError(
    'STATE',
    `Cannot use the state folder "${folder}" as root: it belongs to uid ${uid}`,
    {
      hint: 'Run the command as that user, or set "MAYFLY_STATE" to a folder of root',
    },
  )
}

/**
 * The key's folder, unless it is inside the state folder: Landlock would then deny files that the server creates there
 * later.
 */
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

/**
 * Starts the server with the folders that it needs, before the warden is loaded: a server takes longer to load than a
 * wall takes to start, and loads on another core in parallel. Node queues messages of a child until there is a
 * listener. Throws MayflyError STATE if the state folder cannot be created.
 */
export function startServer(options: ServerOptions): StartedServer {
  // A descriptor that a shell left open would be inherited by a process with another uid.
  if (process.platform === 'linux') closeOnExecFrom(FIRST_INHERITED)
  raisePriority(niceOf.warden)
  makeStateFolder(options.stateFolder)
  makeStateFolder(options.stateFolder, wardenFolder)
  const dropped = dropTo(options)
  const server = spawnServer(options, dropped)
  const ended = whenEnded(server)
  if (server.pid !== undefined) raisePriority(niceOf.server, server.pid)
  const { argv, stateFolder } = options
  return { server, ended, programs: { argv, stateFolder, become: becoming(dropped) } }
}

/** Subscribes at once: an `'error'` without a listener would crash the warden. */
function whenEnded(server: ChildProcess): Promise<number> {
  return new Promise((resolve) => {
    server.once('exit', (status, signal) =>
      resolve(status ?? (signal ? 128 + constants.signals[signal] : 1)),
    )
    server.on('error', () => resolve(9))
  })
}

/** Arguments of setpriv for a program to become the server's user. */
function becoming({ uid }: Pick<Dropped, 'uid'>): readonly string[] {
  if (uid === undefined) return []
  return ['--reuid', `${uid}`, '--regid', `${uid}`, '--clear-groups', '--no-new-privs']
}

function spawnServer(options: ServerOptions, { setpriv, uid, why }: Dropped): ChildProcess {
  const shutOut = uid === undefined ? folderBesideState(options.stateFolder) : null
  const layers = makeLayerFolder(uid)
  const folder = uid === undefined ? undefined : openArtifacts(options.argv, uid)
  const role: Role = {
    kind: 'server',
    keptUid: why,
    shutOut,
    ...(uid !== undefined && { rights: options.readsAsRoot ? 'root' : 'on request' }),
    ...(layers !== undefined && { layers }),
    ...(folder !== undefined && { artifactsFd: ARTIFACTS_FD }),
  }
  const become = options.readsAsRoot ? ['--no-new-privs'] : becoming({ uid })
  const flags = serverFlags[options.isOnce ? 'once' : 'server']
  const node = [process.execPath, ...flags, options.bin, ...options.argv]
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
