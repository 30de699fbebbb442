import type { ChildProcess } from 'node:child_process'
import type { EnclosureSpec } from '../contract/engine.ts'
import { deniedExitCode } from '../contract/exit-codes.ts'
import { collectGarbage } from '../lib/collect-garbage.ts'
import { QuietCollector } from '../lib/collect-when-quiet.ts'
import { endCompilers } from '../os/compiler.ts'
import { trimHeap } from '../os/libc.js'
import { answerChannel, passOverSurplusAcks, sendReply, type Channel } from './channel.ts'
import { closeWithin } from './close.ts'
import type { EarlyWarden } from './early.ts'
import type { StartedServer } from './start-server.ts'

/**
 * `mayfly` as the warden: owns every wall that the server, its first child, requests. When the server ends, the warden
 * ends every wall; when the warden ends, the kernel kills the server and the walls by their parent-death signals.
 */
export interface MainOptions extends StartedServer {
  readonly early: EarlyWarden
  /** Walls that start while the server loads. */
  readonly ahead?: readonly EnclosureSpec[]
}

const KILL_AFTER_MS = 60_000
const LOOK_EVERY_MS = 500

/**
 * Resolves with the server's exit code when the server and all walls have ended; with 'denied' if it ended with `deniedExitCode` before
 * it asked for anything, so before any job.
 */
export async function becomeWarden(options: MainOptions): Promise<number | 'denied'> {
  try {
    return await lead(options)
  } finally {
    await closeWithin(options.early.warden)
  }
}

async function lead({ server, ended, programs, early, ahead = [] }: MainOptions) {
  const channel: Channel = {
    send: (message, handle, done) => server.send(message as object, handle, {}, done),
  }
  passOverSurplusAcks(server)
  const { warden } = early
  early.listen((reply) => {
    if (server.connected) sendReply(warden, channel, reply)
  })
  warden.allowPrograms(programs)
  const hasAsked = answerQuietly(server, early, channel)
  for (const spec of ahead) warden.startAhead(spec)
  let isStopped = false
  const stop = (signal: NodeJS.Signals) => {
    isStopped = true
    server.kill(signal)
    setTimeout(() => server.kill('SIGKILL'), KILL_AFTER_MS).unref()
  }
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, stop)
  if (process.env['npm_lifecycle_event']) whenOrphaned(() => stop('SIGTERM'))
  const code = await ended
  // A command that ends by itself waits for them: the next one would begin them anew.
  if (isStopped) endCompilers()
  return code === deniedExitCode && !hasAsked() ? 'denied' : code
}

/** Answers the server, and collects garbage when there is no request and no job. Returns whether there was a request. */
function answerQuietly(server: ChildProcess, { warden }: EarlyWarden, channel: Channel) {
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
  return () => requests > 0
}

/** Calls back when this process is reparented: npm's shell exits on a signal without forwarding it. */
function whenOrphaned(then: () => void): void {
  const parent = process.ppid
  const look = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(look)
    then()
  }, LOOK_EVERY_MS)
  look.unref()
}
