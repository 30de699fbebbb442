import type { AssembleOptions, Assembly } from '../assemble/assemble.ts'
import { loadConfig, type LoadedConfig } from '../config/load.ts'
import type { Config } from '../contract/config.ts'
import type { Sink } from '../contract/event.ts'
import { attempt } from '../lib/attempt.ts'
import { layerFolder } from '../lib/cache-folder.ts'
import { sanitiseLine } from '../output/sanitise.ts'
import type { LogLevel } from '../telemetry/log-level.ts'
import { openTelemetry, type Telemetry } from '../telemetry/open.ts'
import type { WardenClient } from '../walls/client.ts'
import type { Role } from '../warden/start-server.ts'
import { takePrestartedWarden } from './prestart-warden.ts'
import { note, type Globals } from './print.ts'
import { leaveRoot, roleOf } from './role.ts'
import { warnOfProviders } from './warn-of-providers.ts'

/** Assembled pipeline for one command. */
export interface OpenAssembly extends AsyncDisposable {
  readonly assembly: Assembly
  readonly warden: WardenClient
  readonly loaded: LoadedConfig
  readonly telemetry: Telemetry
  readonly role: Role | undefined
}

export async function openAssembly(
  flags: Globals & LogFlags,
  kind: AssembleOptions['kind'],
  more: {
    readonly flags?: Readonly<Record<string, unknown>>
    readonly sinks?: readonly Sink[]
    readonly jobFolders?: readonly string[]
    /** Changes the configuration of this command alone. */
    readonly adapt?: (config: Config) => Config
    readonly dial?: AssembleOptions['dial']
  } = {},
): Promise<OpenAssembly> {
  const given = loadCliConfig(flags, more.flags)
  const loaded = more.adapt ? { ...given, config: more.adapt(given.config) } : given
  // A server warns of each wall that it cannot use, and why, once it has probed them.
  if (kind !== 'server') await warnOfProviders(loaded, flags)
  const role = roleOf()
  const warden = await wardenOf(role, loaded)
  try {
    const telemetry = await openTelemetry(loaded.config, process.env, kind === 'server')
    const { assemble } = await import('../assemble/assemble.ts')
    const sinks = [
      ...telemetry.sinks,
      unsignedReporter(flags),
      ...(more.sinks ?? []),
      ...(await eventLog(flags, kind)),
    ]
    const { jobFolders = [], dial } = more
    // Without a layer folder if no cache folder is known for this user.
    const folders = { layerFolder: role?.layers ?? attempt(layerFolder), jobFolders }
    const parts = { config: loaded.config, warden, kind, sinks, dial, ...folders }
    const assembly = assemble(parts)
    telemetry.watch({ ...assembly, warden })
    return {
      assembly,
      warden,
      loaded,
      role,
      telemetry,
      async [Symbol.asyncDispose]() {
        await telemetry.close()
        await assembly[Symbol.asyncDispose]()
      },
    }
  } catch (error) {
    await warden.close()
    throw error
  }
}

/** Warns once of lines of the record that the signer did not sign, as after its key was lost. */
function unsignedReporter(flags: Globals): Sink {
  let isTold = false
  return ({ point, fields }) => {
    if (point !== 'record/unsigned' || isTold) return
    isTold = true
    const hint = 'Run "mayfly audit verify"'
    note(flags, `Warning: the record is not signed: ${String(fields['why'])}. ${hint}`)
  }
}

/** Every event with `--verbose`; of a server by default refusals, failures, its start and its stop. */
async function eventLog(
  flags: Globals & LogFlags,
  kind: AssembleOptions['kind'],
): Promise<readonly Sink[]> {
  if (!flags.verbose && kind !== 'server') return []
  const { createLogSink } = await import('../telemetry/log.ts')
  const stream = process.stderr
  if (kind !== 'server') return [createLogSink({ stream })]
  const usual = flags.verbose ? 'debug' : flags.quiet ? 'error' : 'info'
  const { logLevel: level = usual, accessLog: access = false, logFormat } = flags
  const form = logFormat === 'json' || (!logFormat && flags.verbose && !stream.isTTY)
  return [createLogSink({ stream, level, access, form: form ? 'json' : 'human' })]
}

/** Flags of a server's log. */
export interface LogFlags {
  readonly logLevel?: LogLevel
  readonly logFormat?: 'text' | 'json'
  readonly accessLog?: boolean
}

/** Loads the configuration of this command and reports its files. */
export function loadCliConfig(
  flags: Globals,
  given: Readonly<Record<string, unknown>> = {},
): LoadedConfig {
  const loaded = loadConfig({
    file: flags.config,
    env: process.env,
    flags: { '--state': flags.state, ...given },
    cwd: process.cwd(),
  })
  for (const file of loaded.files) note(flags, `Configuration: ${sanitiseLine(file)}`)
  for (const warning of loaded.warnings) note(flags, `Warning: ${sanitiseLine(warning)}`)
  return loaded
}

/** Connects to the parent's warden, or opens one in this process. */
export async function wardenOf(
  role: Role | undefined,
  loaded: LoadedConfig,
): Promise<WardenClient> {
  if (role) {
    await leaveRoot()
    const { joinWarden } = await import('../walls/client.ts')
    process.on('disconnect', dieWithWarden)
    const leave = async () => {
      process.off('disconnect', dieWithWarden)
      process.disconnect?.()
    }
    return joinWarden(process, leave)
  }
  const early = await takePrestartedWarden(loaded.config.state)
  early.warden.allowPrograms({
    argv: process.argv.slice(2),
    stateFolder: loaded.config.state,
    become: [],
  })
  const { holdEarly } = await import('../assemble/local-warden.ts')
  return holdEarly(early)
}

function dieWithWarden(): void {
  process.kill(process.pid, 'SIGKILL')
}
