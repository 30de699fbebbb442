import { join } from 'node:path'
import { Option, type Command } from 'commander'
import type { AdminKey, LoadedConfig } from '../config/load.ts'
import type { Config } from '../contract/config.ts'
import { expiryDate } from '../contract/clock.ts'
import { grantsNetwork } from '../contract/controls.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { Assembly } from '../assemble/assemble.ts'
import type { Sink } from '../contract/event.ts'
import type { McpEndpoint } from '../gateway/http/parts.ts'
import type { Quotas } from '../gateway/http/quota.ts'
import { ceilingsOfAll, ceilingsOfEach, pageTenant } from '../gateway/http/visitor-ceilings.ts'
import type { LocalDoor } from '../gateway/local/door.ts'
import type { Gateway } from '../gateway/server.ts'
import { forgetExpired } from '../evidence/bodies.ts'
import { createHistory } from '../history/history.ts'
import { type History } from '../history/history.ts'
import { auditFile } from '../lib/state-folder.ts'
import { whyUnreadable } from '../lib/why-unreadable.ts'
import { QuietCollector } from '../lib/collect-when-quiet.ts'
import { tlsOf } from './certificate.ts'
import { logLevels } from '../telemetry/log-level.ts'
import type { LogFlags, OpenAssembly } from './open-assembly.ts'
import { note, paint, printJson, type Globals } from './print.ts'
import { keyCustody } from './role.ts'
import { onReaderGone } from './broken-pipe.ts'
import { stopSignal } from './stop-signal.ts'
import { version } from './version.ts'
import { warnOfWalls } from './warn-of-walls.ts'

const RETAIN_EVERY_MS = 60_000

interface ServeFlags extends Globals, LogFlags {
  readonly port?: string
  readonly host?: string
  readonly tlsCert?: string
  readonly tlsKey?: string
  readonly tlsDev?: boolean
  readonly insecureHttp?: boolean
  readonly status?: boolean
  readonly stop?: boolean
  readonly forRun?: boolean
  readonly idle?: string
}

export function register(program: Command): void {
  program
    .command('serve')
    .description('run the server: page on PORT, API and active content on PORT+1')
    .argument('[site]', 'folder to serve instead of the built-in page')
    .option('--port <port>', 'port of the page; default: the configured one, or 7420')
    .option('--host <address>', 'address to listen on; default: the configured one, or 127.0.0.1')
    .option('--tls-cert <file>', 'PEM file of the certificate and its chain')
    .option('--tls-key <file>', 'PEM file of the private key')
    .option('--tls-dev', 'TLS for localhost, with a local certificate authority')
    .option('--insecure-http', 'allow other addresses than loopback without TLS')
    .option('--status', 'list the servers that run jobs for "mayfly run" of this user')
    .option('--stop', 'stop servers that "mayfly run" left behind')
    .addOption(
      new Option('--log-level <level>', 'what the log on stderr has; default: info').choices([
        ...logLevels,
      ]),
    )
    .addOption(
      new Option('--log-format <format>', 'form of the log; default: text').choices([
        'text',
        'json',
      ]),
    )
    .option('--access-log', 'log each request')
    .addOption(new Option('--for-run').hideHelp())
    .addOption(new Option('--idle <time>').hideHelp())
    .action(async (site: string | undefined, _own, command: Command) => {
      await serve(site, command.optsWithGlobals<ServeFlags>())
    })
}

async function serve(site: string | undefined, flags: ServeFlags): Promise<void> {
  if (flags.status) return (await import('./serve-orders.ts')).showServers(flags)
  if (flags.stop) return (await import('./serve-orders.ts')).stopServers(flags)
  if (flags.forRun) return (await import('./left-server.ts')).serveRuns(flags)
  if (site !== undefined) await mustBeFolder(site)
  const { openAssembly } = await import('./open-assembly.ts')
  let events = 0

  await using here = await openAssembly(flags, 'server', {
    sinks: [diskReporter(flags), moduleReporter(flags), () => void events++],
    flags: {
      '--port': flags.port,
      '--host': flags.host,
      '--tls-cert': flags.tlsCert,
      '--tls-key': flags.tlsKey,
      '--tls-dev': flags.tlsDev,
      '--insecure-http': flags.insecureHttp,
    },
  })
  const isIdle = () => here.assembly.pool.running === 0
  const quiet = new QuietCollector({ doings: () => events, isIdle })
  try {
    await serveUntilStopped(here, site, flags)
  } finally {
    quiet.close()
  }
}

/** A site that cannot be read is served as far as it can. */
async function warnOfPages(site: string, flags: ServeFlags): Promise<void> {
  const { warnOfSite } = await import('./warn-of-site.ts')
  await warnOfSite(site, flags).catch(() => undefined)
}

/** Reports an admin key that is in the variable of clients, also with --json. */
function warnOfKey(given: AdminKey['variable'] | undefined, flags: ServeFlags): void {
  if (given !== 'MAYFLY_API_KEY') return
  const text =
    'The key in MAYFLY_API_KEY is admin of this server: MAYFLY_ADMIN_KEY is the variable for it, and MAYFLY_API_KEY that of clients'
  note(flags, paint('yellow', text))
}

async function serveUntilStopped(here: OpenAssembly, site: string | undefined, flags: ServeFlags) {
  const { assembly, loaded, role } = here
  const stopped = stopSignal()
  onReaderGone(() => undefined)
  const { gateway, quotas, created, given } = await open(here, site, flags)
  assembly.closePorts([gateway.staticUrl, gateway.activeUrl].map((url) => portOf(url)))
  assembly.emitter.emit('server/started', {
    static: gateway.staticUrl,
    active: gateway.activeUrl,
    keptUid: role?.keptUid ?? null,
    keyCustody: keyCustody(),
  })
  const { staticUrl, activeUrl } = gateway
  if (flags.json)
    printJson({ static: staticUrl, active: activeUrl, apiKey: created, pid: process.pid })
  else {
    const keptUid = role?.keptUid ?? null
    const facts = { state: loaded.config.state, keptUid, apiKey: created, given }
    announce({ staticUrl, activeUrl, ...facts }, await version(), flags)
    void showWalls(assembly, flags)
  }
  warnOfKey(given, flags)
  void warnOfWalls(assembly, flags, stopped)
  if (site !== undefined) void warnOfPages(site, flags)

  const door = await openDoor(here, flags)
  const signal = await stopped
  assembly.emitter.emit('server/draining', { signal })
  const { drain } = loaded.config.server
  note(
    flags,
    paint(
      'dim',
      `${signal}: running jobs may finish within ${drain / 1000} s; repeat the signal to end them now`,
    ),
  )
  const [cancelledHere, cancelledRuns = 0] = await Promise.all([
    gateway.drain(drain),
    door?.drain(drain),
  ])
  const cancelled = cancelledHere + cancelledRuns
  await Promise.all([gateway.close(), door?.close()])
  quotas.close()
  assembly.emitter.emit('server/stopped', { cancelled })
  if (cancelled > 0) note(flags, `${cancelled} jobs were cancelled`)
}

/** Opens the socket for `mayfly run` of the same user; the server also works without it. */
async function openDoor(here: OpenAssembly, flags: ServeFlags): Promise<LocalDoor | undefined> {
  const [{ openRunsDoor }, { loadConfig }] = await Promise.all([
    import('./local-door.ts'),
    import('../config/load.ts'),
  ])
  const never = () => undefined
  try {
    // Omits flags that only a server has, because a run has none of them.
    const loaded = loadConfig({
      file: flags.config,
      env: process.env,
      flags: { '--state': flags.state },
      cwd: process.cwd(),
    })
    const order = { idleMs: null, onIdle: never, onStop: never }
    return await openRunsDoor(here, { kind: 'serve', loaded, ...order })
  } catch (thrown) {
    note(flags, paint('yellow', `Runs of this user cannot use this server: ${messageOf(thrown)}`))
    return undefined
  }
}

/**
 * Opens the endpoints before creating the first key: a key created by a server that then failed to listen would
 * never be shown again.
 */
async function open(
  { assembly, loaded, telemetry, warden }: OpenAssembly,
  site: string | undefined,
  flags: Globals,
) {
  const { config } = loaded
  const [{ openGateway }, { providerRows }, { readiness }, { inForce }, { readLogPage }] =
    await Promise.all([
      import('../gateway/server.ts'),
      import('./provider-rows.ts'),
      import('./readiness.ts'),
      import('../config/in-force.ts'),
      import('../evidence/log-reader.ts'),
    ])
  const { keys, given, create } = await openServerKeys(assembly, loaded)
  const quotas = await openQuotas(assembly)
  const tls = await tlsOf(config, assembly.clock.date(), flags)
  // Machine facts do not change at run time.
  let facts: ReturnType<typeof warden.facts> | undefined
  const rows = async () =>
    providerRows(await assembly.providers(), await (facts ??= warden.facts()))
  try {
    const gateway = await openGateway({
      host: config.server.host,
      port: config.server.port,
      ...(site && { site, state: config.state }),
      insecureHttp: config.server.insecure_http,
      trustedProxies: config.server.trusted_proxies,
      proxyHeader: config.server.proxy_header,
      ...(tls && { tls }),
      visitors: () => visitorsOf(assembly.config.sessions),
      limits: { bodyBytes: config.server.body },
      road: (job, options) => assembly.run(job, options),
      effects: assembly.effects,
      analyseZones: (job) => assembly.partition(job),
      operations: assembly.operations,
      served: assembly.sessions,
      evidence: assembly.evidence,
      audit: (query) => readLogPage(auditFile(config.state), query),
      history: keepHistory(assembly),
      providers: rows,
      mcp: agentsDoor(assembly, warden),
      change: async (patch, by) => inForce(await assembly.change(patch, by)),
      ready: () => readiness(assembly),
      keys,
      quotas,
      emitter: assembly.emitter,
      telemetry,
      clock: assembly.clock,
      version: await version(),
    })
    return { gateway, quotas, given, created: await firstKey(gateway, create) }
  } catch (error) {
    quotas.close()
    throw error
  }
}

/** `given`: variable of the admin key, unless its key has an entry of its own. */
async function openServerKeys({ clock }: Assembly, { config, adminKey }: LoadedConfig) {
  const { openKeys, environmentId } = await import('../gateway/http/keys.ts')
  const { keys, create } = await openKeys({
    folder: config.state,
    later: true,
    ...(adminKey && { first: adminKey.key, firstIn: adminKey.variable }),
    tenants: config.tenants,
    date: expiryDate(clock),
  })
  const isOfEnvironment = adminKey && keys.find(adminKey.key)?.id === environmentId
  return { keys, create, given: isOfEnvironment ? adminKey.variable : undefined }
}

function visitorsOf({ anonymous, concurrency, per_minute, address }: Config['sessions']) {
  const tokensPerMinute = address.tokens_per_minute
  return { anonymous, running: concurrency, perMinute: per_minute, tokensPerMinute }
}

/** MCP endpoint. Its library takes some 35 MB, so it is loaded at the first request. */
function agentsDoor(assembly: Assembly, warden: OpenAssembly['warden']): McpEndpoint {
  let opened: Promise<McpEndpoint> | undefined
  const open = async (): Promise<McpEndpoint> => {
    const [{ openMcp }, { openAgentParts }] = await Promise.all([
      import('../mcp/http.ts'),
      import('../mcp/agent-parts.ts'),
    ])
    const about = await version()
    return openMcp({
      version: about,
      agents: openAgentParts({
        assembly,
        version: about,
        startProgram: (name) => warden.program(name),
      }),
      clock: assembly.clock,
      explain: (job) => assembly.explain(job),
      hasNetwork: () => grantsNetwork(assembly.config.network),
    })
  }
  return {
    answer: async (...given) => await (await (opened ??= open())).answer(...given),
    close: async () => await (await opened)?.close(),
  }
}

async function firstKey(gateway: Gateway, create: () => string | null): Promise<string | null> {
  try {
    return create()
  } catch (error) {
    await gateway.close()
    throw error
  }
}

/** Reports a full disk even without --verbose. */
function diskReporter(flags: ServeFlags): Sink {
  return ({ point, fields }) => {
    if (point === 'record/full')
      note(
        flags,
        paint('red', `${String(fields['because'])}. Jobs are refused until there is room`),
      )
    if (point === 'record/recovered') note(flags, 'The record is writable again: jobs are accepted')
  }
}

/** Reports provider modules as they are added and removed, because their code is trusted and runs in this process. */
function moduleReporter(flags: ServeFlags): Sink {
  return ({ point, fields }) => {
    const { provider, file, tier, reason } = fields as Record<string, string>
    if (point === 'provider/loaded')
      note(flags, `Provider "${provider}" (${tier}) added from ${file}`)
    if (point === 'provider/removed') note(flags, `Provider "${provider}" removed with ${file}`)
    if (point === 'provider/refused') note(flags, paint('yellow', String(reason)))
  }
}

/** Ceilings of each tenant by the current configuration; an unknown tenant has those of `default`. */
async function openQuotas(assembly: Assembly): Promise<Quotas> {
  const [{ OpenQuotas }, { openQuotaStore }] = await Promise.all([
    import('../gateway/http/quota.ts'),
    import('../gateway/http/quota-store.ts'),
  ])
  const { clock, config } = assembly
  return new OpenQuotas({
    ceilings: (tenant) => {
      const { tenants, sessions } = assembly.config
      const own = (tenants.find(({ name }) => name === tenant) ?? tenants[0])?.ceilings ?? {}
      return tenant === pageTenant ? ceilingsOfAll(own, sessions) : own
    },
    visitors: () => ceilingsOfEach(assembly.config.sessions),
    store: openQuotaStore(join(config.state, 'quota.db'), clock.date()),
    clock,
  })
}

/**
 * Retention of outcomes, one day within a byte limit, and of executions of code mode: swept once a minute, and outcomes also when
 * many bytes of them were stored since.
 */
function keepHistory({ record, clock, config: { state } }: Assembly): History {
  const sweepBodies = async () => await forgetExpired(record.bodies, clock.date())
  const sweepCode = async () => {
    const { sweepExecutions } = await import('../mcp/code-mode/stored-executions.ts')
    sweepExecutions(state, clock)
  }
  // A failed sweep is retried a minute later; a broken state folder fails the next job.
  const retain = () => Promise.allSettled([sweepBodies(), sweepCode()])
  setInterval(() => void retain(), RETAIN_EVERY_MS).unref()
  const history = createHistory(
    () => record.bodies,
    () => clock.date(),
  )
  return {
    ...history,
    end(...given) {
      try {
        history.end(...given)
      } finally {
        if (record.bodies.isSweepDue) void sweepBodies().catch(() => undefined)
      }
    },
  }
}

function portOf(url: string): number {
  const { port, protocol } = new URL(url)
  return Number(port) || (protocol === 'https:' ? 443 : 80)
}

interface Started {
  readonly staticUrl: string
  readonly activeUrl: string
  readonly state: string
  readonly apiKey: string | null
  readonly keptUid: string | null
  /** Variable that holds the admin key of this server. */
  readonly given: AdminKey['variable'] | undefined
}

function announce(started: Started, version: string, flags: ServeFlags): void {
  const { staticUrl, activeUrl, state, apiKey, keptUid, given } = started
  note(flags, paint('bold', `Mayfly ${version}`))
  note(flags, `  Page     ${paint('cyan', staticUrl)}`)
  note(flags, `  API      ${paint('cyan', activeUrl)}`)
  note(flags, `  State    ${state}`)
  if (apiKey && flags.logFormat === 'json') note({ logFormat: 'json' }, keyLine(apiKey))
  else if (apiKey) process.stderr.write(keyLine(apiKey))
  else if (given) note(flags, `  API key  ${paint('dim', `that of ${given} (admin)`)}`)
  else
    note(
      flags,
      `  API key  ${paint('dim', 'made earlier, or configured; "mayfly access create" makes another')}`,
    )
  if (keptUid) note(flags, paint('yellow', `  The server keeps its starter's uid: ${keptUid}`))
  if (keyCustody() === 'none')
    note(flags, paint('yellow', '  Nothing keeps the signing key of the record from the server'))
}

function keyLine(apiKey: string): string {
  return `  API key  ${apiKey}  ${paint('dim', '(admin; shown this once)')}\n`
}

/** Prints walls as they are proved. */
async function showWalls(assembly: Assembly, flags: ServeFlags): Promise<void> {
  const [proved, { wallsText }] = await Promise.all([assembly.walls(), import('./walls-text.ts')])
  note(flags, `${paint('bold', 'Walls')}, each proved by running a guest\n${wallsText(proved)}`)
  const later = assembly.unproved()
  if (later.length > 0) note(flags, `·  ${later.join(', ')}: proved at first use`)
  if (!proved.some(({ availability }) => availability.available))
    note(
      flags,
      paint('yellow', 'Every job will end as "unavailable" until one of them is available'),
    )
}

async function mustBeFolder(site: string): Promise<void> {
  const { readdirSync } = await import('node:fs')
  try {
    readdirSync(site)
  } catch (cause) {
    const { because, ...hint } = whyUnreadable(site, cause)
    throw new MayflyError('USAGE', `Cannot serve "${site}": ${because}`, { ...hint, cause })
  }
}
