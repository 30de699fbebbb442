import type { ChildProcess } from 'node:child_process'
import { constants } from 'node:os'
import type { EnclosureSpec } from '../contract/engine.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import { collectGarbage } from '../lib/collect-garbage.ts'
import { QuietCollector } from '../lib/collect-when-quiet.ts'
import { makeFolder } from '../lib/make-folder.ts'
import { wardenFolder } from '../lib/state-folder.ts'
import { trimHeap } from '../os/libc.js'
import { raisePriority } from '../os/priority.ts'
import { answerChannel, sendReply, type Channel } from './channel.ts'
import { closeWithin } from './close.ts'
import type { EarlyWarden } from './early.ts'
import { niceOf } from './nice.ts'
import { dropTo, startServer, type ServerOptions } from './start-server.ts'

/**
 * `mayfly` as the warden: it starts the server as its first child, with fewer rights than its own where it can drop any,
 * and then every wall that the server asks for. When the server ends it ends every wall; when this process ends, the
 * kernel ends the server and the walls by their parent-death signals.
 */
export interface MainOptions extends ServerOptions {
  readonly early: EarlyWarden
  /** Walls that start while the server loads. */
  readonly ahead?: readonly EnclosureSpec[]
}

const KILL_AFTER_MS = 60_000
const LOOK_EVERY_MS = 500

/**
 * Resolves with the server's exit code when everything it started has ended. Throws MayflyError STATE when there can
 * be no state folder; then no wall is left either.
 */
export async function becomeWarden(options: MainOptions): Promise<number> {
  try {
    return await lead(options)
  } finally {
    await closeWithin(options.early.warden)
  }
}

async function lead(options: MainOptions): Promise<number> {
  raisePriority(niceOf.warden)
  let server: ChildProcess | undefined
  const channel: Channel = {
    send: (message, handle, done) => server!.send(message as object, handle, {}, done),
  }
  makeStateFolders(options.stateFolder)
  const { warden } = options.early
  options.early.listen((reply) => {
    if (server?.connected) sendReply(warden, channel, reply)
  })
  const dropped = dropTo(options)
  server = startServer(options, dropped, warden.swept)
  if (server.pid !== undefined) raisePriority(niceOf.server, server.pid)
  answerQuietly(server, options.early, channel)
  for (const spec of options.ahead ?? []) warden.startAhead(spec)
  const stop = (signal: NodeJS.Signals) => {
    server.kill(signal)
    setTimeout(() => server.kill('SIGKILL'), KILL_AFTER_MS).unref()
  }
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, stop)
  if (process.env['npm_lifecycle_event']) whenOrphaned(() => stop('SIGTERM'))
  return new Promise<number>((resolve) => {
    server.once('exit', (status, signal) =>
      resolve(status ?? (signal ? 128 + constants.signals[signal] : 1)),
    )
    server.once('error', () => resolve(9))
  })
}

/** Answers the server, and gives memory back when there is nothing to answer and no job to hold. */
function answerQuietly(server: ChildProcess, { warden }: EarlyWarden, channel: Channel): void {
  const answer = answerChannel(warden, channel)
  let requests = 0
  const quiet = new QuietCollector({
    doings: () => requests,
    isIdle: () => !warden.hasJobs,
    collect() {
      collectGarbage()
      trimHeap()
    },
  })
  server.on('message', (message) => {
    requests++
    answer(message)
  })
  server.once('exit', () => quiet.close())
}

/** Calls back when this process is reparented: npm's shell does not forward the signal that ends it. */
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
