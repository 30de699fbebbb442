import type { Command } from 'commander'
import { MayflyError } from '../contract/error.ts'
import type { Sink } from '../contract/event.ts'
import type { Assembly } from '../assemble.ts'
import { keyCustody } from './role.ts'
import { note, paint, printJson, table, type Globals } from './print.ts'

interface ServeFlags extends Globals {
  readonly port?: string
  readonly host?: string
  readonly insecureHttp?: boolean
}

export function register(program: Command): void {
  program
    .command('serve')
    .description('the server: page on PORT, API and active content on PORT+1')
    .argument('[site]', 'a folder to serve in place of the built-in page')
    .option('--port <port>', 'port of the page; 7420 unless configured')
    .option('--host <address>', 'address to listen on; 127.0.0.1 unless configured')
    .option('--insecure-http', 'listen off loopback without TLS')
    .action(async (site: string | undefined, _own, command: Command) => {
      await serve(site, command.optsWithGlobals<ServeFlags>())
    })
}

async function serve(site: string | undefined, flags: ServeFlags): Promise<void> {
  const { openHere } = await import('./here.ts')
  const log = await eventLog(flags)
  const here = await openHere(flags, 'server', {
    flags: { '--port': flags.port, '--host': flags.host, '--insecure-http': flags.insecureHttp },
    sinks: log,
  })
  const { assembly, loaded, role, close } = here
  const { config, apiKey } = loaded
  const [{ openGateway }, { openKeys }] = await Promise.all([
    import('../gateway/server.ts'),
    import('../gateway/keys.ts'),
  ])
  const { keys, created } = await openKeys({
    folder: config.state,
    ...(apiKey && { first: apiKey }),
    tenants: config.tenants,
  })
  const { providerRows } = await import('./rows.ts')
  const { readiness } = await import('./readiness.ts')
  const gateway = await openGateway({
    host: config.server.host,
    port: config.server.port,
    ...(site && { site }),
    insecureHttp: config.server.insecure_http,
    sessions: {
      ...(config.sessions.anonymous !== undefined && { anonymous: config.sessions.anonymous }),
    },
    limits: {
      bodyBytes: config.server.body,
      sessionRunning: config.sessions.concurrency,
      sessionPerMinute: config.sessions.per_minute,
    },
    road: (job, options) => assembly.run(job, options),
    providers: async () => providerRows(await assembly.providers()),
    ready: () => readiness(assembly),
    keys,
    voice: assembly.voice,
    clock: assembly.clock,
    version: await version(),
  })
  assembly.voice.say('server/started', {
    static: gateway.staticUrl,
    active: gateway.activeUrl,
    keptUid: role?.keptUid ?? null,
    keyCustody: keyCustody(),
  })
  const stopped = stopSignal()
  if (flags.json)
    printJson({
      static: gateway.staticUrl,
      active: gateway.activeUrl,
      apiKey: created,
      pid: process.pid,
    })
  else announce(flags, gateway, created, role?.keptUid ?? null)
  void walls(assembly, flags)

  const signal = await stopped
  assembly.voice.say('server/draining', { signal })
  note(flags, paint('dim', `${signal}: draining for at most ${config.server.drain / 1000} s`))
  const cancelled = await gateway.drain(config.server.drain)
  await gateway.close()
  assembly.voice.say('server/stopped', { cancelled })
  await close()
}

function announce(
  flags: ServeFlags,
  gateway: { staticUrl: string; activeUrl: string },
  apiKey: string | null,
  keptUid: string | null,
): void {
  note(flags, `${paint('bold', 'Page')}      ${gateway.staticUrl}`)
  note(flags, `${paint('bold', 'API')}       ${gateway.activeUrl}`)
  if (apiKey) note(flags, `${paint('bold', 'API key:')}  ${apiKey}   (admin; shown once)`)
  if (keptUid) note(flags, paint('yellow', `The server keeps its starter's uid: ${keptUid}`))
}

/** What was proved, as soon as it is. */
async function walls(assembly: Assembly, flags: ServeFlags): Promise<void> {
  const proved = await assembly.walls()
  if (flags.json) return
  const rows = proved.map(({ provider, availability }) => [
    availability.available ? '✓' : '✗',
    provider.name,
    provider.tier,
    availability.available ? `strength ${availability.strength}` : availability.code,
    availability.available
      ? availability.layers.join(', ')
      : `${availability.reason}. ${availability.fix}`,
  ])
  note(flags, table(rows))
}

async function eventLog(flags: ServeFlags): Promise<readonly Sink[]> {
  if (!flags.verbose) return []
  const { createLogSink } = await import('../telemetry/log.ts')
  return [createLogSink({ stream: process.stderr })]
}

/** The first of them drains; a second one is left to the system, which ends us. */
function stopSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal))
  })
}

async function version(): Promise<string> {
  const { default: manifest } = await import('../../package.json', { with: { type: 'json' } })
  if (!manifest.version) throw new MayflyError('INTERNAL', 'Cannot read the version')
  return manifest.version
}
