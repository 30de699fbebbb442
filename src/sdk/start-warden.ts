import { spawn } from 'node:child_process'
import { getCompileCacheDir } from 'node:module'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { MayflyError } from '../contract/error.ts'
import { wardenFlags } from '../lib/node-flags.ts'
import { joinWarden, type WardenClient } from '../walls/client.ts'
import type { WardenOptions } from '../contract/warden-options.ts'

const READY_MS_MAX = 10_000
/** Grace period; then SIGKILL, and parent-death signals end its walls. */
const END_MS_MAX = 10_000
/** Delay for parent-death signals to act first. */
const SWEEP_AFTER_MS = 100
/** Not SIGTERM, which systemd sends to the whole cgroup while the application still drains. */
const endSignal = 'SIGUSR2'
const CHILD = fileURLToPath(new URL('../warden/child.ts', import.meta.url))
const END_ORPHANS = fileURLToPath(
  new URL('../warden/engines/processes/end-orphans.ts', import.meta.url),
)
const FLAGS = ['--disable-warning=ExperimentalWarning', ...wardenFlags]

/**
 * Starts the warden of an application as an unref'd child that exits with it. Called once at open; this process
 * starts no other process, except one sweep after the warden was killed.
 */
export async function startWarden(options: WardenOptions): Promise<WardenClient> {
  const child = spawn(process.execPath, [...FLAGS, CHILD], {
    env: { ...inherited(), MAYFLY_WARDEN: JSON.stringify(options) },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    cwd: '/',
    // setsid: Ctrl-C goes to the application only.
    detached: true,
  })
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(notStarted('it did not answer')), READY_MS_MAX)
    child.once('message', () => {
      clearTimeout(timer)
      resolve()
    })
    child.once('error', (error) => reject(notStarted(error.message)))
    child.once('exit', (code, signal) => reject(notStarted(`it ended (${code ?? signal})`)))
  })
  const gone = new Promise<void>((resolve) => void child.once('exit', () => resolve()))
  child.once('exit', (_code, signal) => signal === 'SIGKILL' && setTimeout(sweep, SWEEP_AFTER_MS))
  child.unref()
  child.channel?.unref()
  const keepAlive = (waiting: boolean) => (waiting ? child.channel?.ref() : child.channel?.unref())
  return joinWarden(child, end, keepAlive)

  /** Ends the warden by a signal, because the peer does not notice a closed IPC channel while a socket is in transit. */
  async function end(): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.ref()
    child.kill(endSignal)
    const late = setTimeout(() => child.kill('SIGKILL'), END_MS_MAX)
    await gone
    clearTimeout(late)
  }
}

/** Sweeps processes that a SIGKILLed warden was just starting; otherwise only the next start would. */
function sweep(): void {
  const child = spawn(process.execPath, [...FLAGS, END_ORPHANS], {
    env: inherited(),
    stdio: 'ignore',
    cwd: '/',
  })
  child.on('error', () => undefined)
  child.unref()
}

function notStarted(why: string): MayflyError {
  return new MayflyError('WARDEN_LOST', `Cannot start the warden: ${why}`)
}

/** Environment: program path, user cache, sockets of engines of containers, and this process's compile cache. */
function inherited(): NodeJS.ProcessEnv {
  const { PATH, HOME, XDG_CACHE_HOME, MAYFLY_SENTINEL, MAYFLY_TEMPLATES } = process.env
  const { CONTAINER_HOST, DOCKER_HOST, XDG_RUNTIME_DIR } = process.env
  const containers = { CONTAINER_HOST, DOCKER_HOST, XDG_RUNTIME_DIR }
  const compiled = getCompileCacheDir()
  const cache = compiled !== undefined && { NODE_COMPILE_CACHE: dirname(compiled) }
  return { PATH, HOME, XDG_CACHE_HOME, MAYFLY_SENTINEL, MAYFLY_TEMPLATES, ...containers, ...cache }
}
