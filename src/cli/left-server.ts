import { MayflyError } from '../contract/error.ts'
import { parseDuration } from '../contract/units.ts'
import { attachTo } from '../gateway/local/client.ts'
import { localFolder, readyLine, recordsIn } from '../gateway/local/place.ts'
import { serverName } from '../gateway/local/server-name.ts'
import { configDigest } from './config-digest.ts'
import { openRunsDoor } from './local-door.ts'
import { openAssembly } from './open-assembly.ts'
import type { Globals } from './print.ts'
import { stopSignal } from './stop-signal.ts'

/** Idle time after which a server left behind by a run exits. */
const IDLE_MS = 60_000

export interface LeftFlags extends Globals {
  readonly idle?: string
}

/**
 * Server that a run leaves behind: no port, no API key, no output except the line that its starter waits for. It exits
 * when idle, at `mayfly serve --stop`, by a signal, and when a run of another version, configuration or environment
 * leaves a server behind, because a state folder has at most one.
 */
export async function serveRuns(flags: LeftFlags): Promise<void> {
  const idleMs = flags.idle === undefined ? IDLE_MS : parseDuration(flags.idle)
  if (idleMs === undefined) throw new MayflyError('USAGE', `Cannot read "${flags.idle}" as a time`)

  await using here = await openAssembly(flags, 'runs')
  const over = Promise.withResolvers<void>()
  void stopSignal().then(() => over.resolve())
  const door = await openRunsDoor(here, {
    kind: 'left',
    loaded: here.loaded,
    idleMs,
    onIdle: () => over.resolve(),
    onStop: () => over.resolve(),
  })
  if (!door) return
  process.stdout.write(`${readyLine}\n`)
  const { config } = here.loaded
  void stopOthers(config.state, nameOf(here))
  await over.promise
  await door.drain(config.server.drain)
  await door.close()
}

function nameOf({ loaded }: Awaited<ReturnType<typeof openAssembly>>): string {
  const { state } = loaded.config
  return serverName({ state, config: configDigest(loaded) ?? null, env: process.env })
}

/** Requests that servers left behind by earlier runs exit after their jobs. */
async function stopOthers(state: string, name: string): Promise<void> {
  const folder = localFolder(state)
  const others = recordsIn(folder).filter((one) => one.kind === 'left' && one.name !== name)
  for (const record of others) {
    const server = await attachTo(folder, record).catch(() => undefined)
    await server?.stop().catch(() => undefined)
    server?.close()
  }
}
