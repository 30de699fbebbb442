import { spawn, type ChildProcess } from 'node:child_process'
import type { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { MayflyError } from '../../contract/error.ts'
import { dyingWithParent, findNode, nodePackage } from '../../lib/own-node.js'
import { Peer, type PeerParts } from './peer.ts'
import { SyncChannel } from './sync-channel.ts'

/** Host process (`host.ts`), as used by its application. */
export interface RoadProcess {
  readonly peer: Peer
  /** Calls a member and blocks this thread until the response. */
  wait(target: number, path: string, args: readonly unknown[]): unknown
  /** Ends the process; resolves when it has exited. Idempotent. */
  end(): Promise<void>
}

export type InstanceParts = Pick<PeerParts, 'instance' | 'remember' | 'referenceTo'>

const HOST = fileURLToPath(new URL('./host.ts', import.meta.url))
const FLAGS = ['--disable-warning=ExperimentalWarning']
/** Timeout of the exit after everything is closed; then SIGKILL. */
const END_MS_MAX = 15_000

/**
 * Starts the host process on Mayfly's own Node. It exits with this process, and keeps it alive only while a
 * call is pending. Throws MayflyError UNAVAILABLE without that Node.
 */
export function startRoad(parts: InstanceParts): RoadProcess {
  const child = start()
  const [calls, waited] = [child.stdio[3] as Socket, child.stdio[4] as Socket]
  const gone = new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
    child.once('error', () => resolve())
  })
  const refer = (isBusy: boolean): void => {
    for (const one of [child, calls])
      if (isBusy) one.ref()
      else one.unref()
  }
  waited.unref()
  waited.on('error', () => undefined)
  const peer = new Peer(calls, {
    serve: () => {
      throw new MayflyError('NOT_FOUND', 'Cannot call an application: it has no objects')
    },
    held: () => undefined,
    ...parts,
    ended: (because) => because && child.kill('SIGKILL'),
    busy: refer,
  })
  refer(false)
  let channel: SyncChannel | undefined
  return {
    peer,
    wait(target, path, args) {
      peer.assertOpen()
      channel ??= new SyncChannel(waited)
      return peer.decodeAnswer(channel.ask(peer.encodeCall(target, path, args)))
    },
    async end() {
      child.ref()
      peer.end()
      const late = setTimeout(() => child.kill('SIGKILL'), END_MS_MAX)
      await gone
      clearTimeout(late)
    },
  }
}

function start(): ChildProcess {
  const node = findNode()
  if (node === undefined)
    throw new MayflyError(
      'UNAVAILABLE',
      `Cannot start Mayfly under Node ${process.versions.node}: Node 26 is missing`,
      {
        hint: nodePackage
          ? `Install optional dependencies, among them "${nodePackage}", or run the application under Node 26`
          : 'Run the application under Node 26',
      },
    )
  const [command = node, ...args] = dyingWithParent([node, ...FLAGS, HOST])
  return spawn(command, args, {
    env: environment(),
    stdio: ['ignore', 'ignore', 'inherit', 'pipe', 'pipe'],
    // setsid: Ctrl-C goes to the application only.
    detached: true,
  })
}

/** Environment without NODE_OPTIONS, which Node 26 may reject, and without the coverage settings of the application. */
function environment(): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _flags, NODE_V8_COVERAGE: _coverage, ...env } = process.env
  return env
}
