import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { chownSync, closeSync, lchownSync, lstatSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { MayflyError, messageOf } from '../contract/error.ts'
import { findProgram, serverUid } from '../jail/facts.ts'
import { layerFolder, layerFolderFor } from '../lib/layer-folder.ts'
import { makeFolder } from '../lib/make-folder.ts'
import { wardenFolder } from '../lib/state-folder.ts'
import { mappedUids } from '../os/proc.ts'
import { answerChannel, hand, type Channel } from './channel.ts'
import { openArtifacts } from './artifacts-folder.ts'
import { comeFirst, niceOf } from './come-first.ts'
import type { EarlyWarden } from './early.ts'

/**
 * `mayfly` as the warden: it starts the server as its first child, with fewer rights than its own where it has any
 * to give up, and then every wall the server asks for. When the server ends, everything else is ended; when this
 * process ends, the kernel ends the server and the walls.
 */
export interface MainOptions {
  readonly argv: readonly string[]
  readonly bin: string
  readonly stateFolder: string
  readonly early: EarlyWarden
}

/** What the server is told of its place, through its environment. */
export interface Role {
  readonly kind: 'server'
  /** Why it kept the uid of whoever started it, where it did. */
  readonly keptUid: string | null
  readonly swept: number
  /** The folder this server is to shut itself out of; null where uids do it, undefined where nothing can. */
  readonly shutOut: string | null | undefined
  /** Where it finds the folder of `--artifacts` open, which its uid could not reach or make. */
  readonly artifactsFd?: number
  /** Where this server keeps layers of packages; left out where it has no such place. */
  readonly layers?: string
}

const ROOT = 0
const KILL_AFTER_MS = 60_000
const LOOK_EVERY_MS = 500
/** Behind the channel. */
const ARTIFACTS_FD = 4
/** Half of V8's own: what the server leaves lying about is short-lived, and a gateway should stay small. */
const SERVER_FLAGS = ['--max-semi-space-size=4']

/**
 * Resolves with the server's exit code when everything it started has ended. Throws MayflyError STATE when there can
 * be no state folder; then no wall is left either.
 */
export async function becomeWarden(options: MainOptions): Promise<number> {
  try {
    return await lead(options)
  } finally {
    await options.early.warden.close()
  }
}

async function lead(options: MainOptions): Promise<number> {
  comeFirst(niceOf.warden)
  let server: ChildProcess | undefined
  const channel: Channel = {
    send: (message, handle, done) => server!.send(message as object, handle, {}, done),
  }
  makeStateFolders(options.stateFolder)
  const { warden } = options.early
  options.early.listen((reply) => {
    if (server?.connected) hand(warden, channel, reply)
  })
  const dropped = dropTo(options)
  server = startServer(options, dropped, warden.swept)
  if (server.pid !== undefined) comeFirst(niceOf.server, server.pid)
  server.on('message', answerChannel(warden, channel))
  const stop = (signal: NodeJS.Signals) => {
    server.kill(signal)
    setTimeout(() => server.kill('SIGKILL'), KILL_AFTER_MS).unref()
  }
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, stop)
  if (process.env['npm_lifecycle_event']) whenOrphaned(() => stop('SIGTERM'))
  return new Promise<number>((resolve) => {
    server.once('exit', (status, signal) => resolve(status ?? (signal ? 128 + 9 : 1)))
    server.once('error', () => resolve(9))
  })
}

/** npm ends by a signal with the shell between us: nobody passes it on, but then our parent is another. */
function whenOrphaned(then: () => void): void {
  const parent = process.ppid
  const look = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(look)
    then()
  }, LOOK_EVERY_MS)
  look.unref()
}

function makeStateFolders(folder: string): void {
  try {
    makeFolder(folder, 0o700)
    makeFolder(wardenFolder(folder), 0o700)
  } catch (cause) {
    throw new MayflyError(
      'STATE',
      `Cannot make the state folder "${folder}": ${messageOf(cause)}`,
      {
        hint: 'Name a folder of your own by "--state" or "MAYFLY_STATE"',
        cause,
      },
    )
  }
}

interface Dropped {
  readonly setpriv: string | undefined
  readonly uid: number | undefined
  readonly why: string | null
}

/** As root the server gets a uid of its own, which then owns the state folder; unless it could not read the code. */
function dropTo(options: MainOptions): Dropped {
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
  // Whoever owns the folder is whom the server runs as: other commands go by that.
  if (status !== 0) giveState(options.stateFolder, ROOT)
  return status === 0
    ? { setpriv, uid: serverUid, why: null }
    : { setpriv, uid: undefined, why: `uid ${serverUid} cannot reach the code or the state folder` }
}

function giveState(folder: string, uid: number): void {
  chownSync(folder, uid, uid)
  for (const name of readdirSync(folder)) {
    const place = path.join(folder, name)
    // A second name of somebody else's file would be given away with it.
    if (name !== 'warden' && !isNamedTwice(place)) lchownSync(place, uid, uid)
  }
}

/** Inside the state folder it cannot be shut out: what the server makes there later would be, too. */
function besideState(stateFolder: string): string | undefined {
  const folder = wardenFolder(stateFolder)
  return folder.startsWith(stateFolder + path.sep) ? undefined : folder
}

/** A folder of root's that the server of another uid may fill, and nobody else may list. */
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

function startServer(
  options: MainOptions,
  { setpriv, uid, why }: Dropped,
  swept: number,
): ChildProcess {
  const shutOut = uid === undefined ? besideState(options.stateFolder) : null
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
    // By itself it would look for that of its own uid, which is another user's.
    env: {
      ...process.env,
      MAYFLY_STATE: options.stateFolder,
      MAYFLY_ROLE: JSON.stringify(role),
    },
  })
  if (folder !== undefined) closeSync(folder)
  return server
}
