import { spawn } from 'node:child_process'
import { getCompileCacheDir } from 'node:module'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { MayflyError } from '../contract/error.ts'
import { joinWarden, type WardenClient } from '../walls/client.ts'
import type { WardenOptions } from '../warden/warden.ts'

const READY_MS_MAX = 10_000
/** After that the kernel ends its walls with it. */
const END_MS_MAX = 10_000
/** The kernel ends what is bound to it first. */
const SWEEP_AFTER_MS = 100
/** Not SIGTERM, which systemd sends to every process of a unit while the application still drains. */
const endSignal = 'SIGUSR2'
const CHILD = fileURLToPath(new URL('../warden/child.ts', import.meta.url))
/** The warden stays small: whatever it starts is forked from it. */
const FLAGS = [
  '--disable-warning=ExperimentalWarning',
  '--max-semi-space-size=1',
  '--max-old-space-size=64',
]

/**
 * Starts the warden of an application: a child that ends with it and does not keep it alive. Started once, when the
 * library is opened; nothing is started from this process later.
 */
export async function startWarden(options: WardenOptions): Promise<WardenClient> {
  const child = spawn(process.execPath, [...FLAGS, CHILD], {
    env: { ...inherited(), MAYFLY_WARDEN: JSON.stringify(options) },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    cwd: '/',
    // setsid: the application decides what Ctrl-C means for its jobs.
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

  /** By a signal: the other end of a channel that closes while a socket is on its way to us is never told. */
  async function end(): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.ref()
    child.kill(endSignal)
    const late = setTimeout(() => child.kill('SIGKILL'), END_MS_MAX)
    await gone
    clearTimeout(late)
  }
}

/** What it was just starting when it was killed: nobody else will before the next start. */
async function sweep(): Promise<void> {
  try {
    const { endOrphans } = await import('../warden/orphans.ts')
    endOrphans()
  } catch {
    // Whoever starts a warden next does it too.
  }
}

function notStarted(why: string): MayflyError {
  return new MayflyError('WARDEN_LOST', `Cannot start the warden: ${why}`)
}

/** Where programs are, where the cache of this user is, and where this process has what it compiled. */
function inherited(): NodeJS.ProcessEnv {
  const { PATH, HOME, XDG_CACHE_HOME, MAYFLY_SENTINEL } = process.env
  const compiled = getCompileCacheDir()
  const cache = compiled !== undefined && { NODE_COMPILE_CACHE: dirname(compiled) }
  return { PATH, HOME, XDG_CACHE_HOME, MAYFLY_SENTINEL, ...cache }
}
