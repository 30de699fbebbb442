import { isUtf8 } from 'node:buffer'
import { constants, fstatSync } from 'node:fs'
import { dirname, isAbsolute, relative, resolve } from 'node:path'
import { isProduction, type Config, type ConfigValues } from '../contract/config.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import { attempt } from '../lib/attempt.ts'
import { openDescriptor, readAt, readPipe } from '../lib/file-descriptor.ts'
import { asOwner } from '../lib/owner-files.ts'
import { whyUnreadable } from '../lib/why-unreadable.ts'
import { hasEntry } from '../lib/has-entry.ts'
import { stateFolder } from '../lib/state-folder.ts'
import { checkConfig, finishConfig } from './check.ts'
import { type Fault } from './fault.ts'
import {
  defaultOrigin,
  fileLayer,
  type ConfigLayer,
  type MergedConfig,
  mergeLayers,
  type ValueOrigin,
} from './merge-layers.ts'
import { configError, type Issue, parseToml, TOML_BYTES_MAX } from './parse.ts'
import type { KeyPath } from './positions.ts'
import { type ConfigFile, untrustedError, untrustedIssues } from './trust.ts'
import { type Environment, flagLayers, variableLayers, variableWarnings } from './variables.ts'

const ENV_NAME = /^[A-Za-z0-9_-]{1,32}$/

/** MAYFLY_API_KEY is a client's; a server takes it where MAYFLY_ADMIN_KEY is not set. */
const adminKeyVariables = ['MAYFLY_ADMIN_KEY', 'MAYFLY_API_KEY'] as const

export interface AdminKey {
  readonly key: string
  readonly variable: (typeof adminKeyVariables)[number]
}

export interface LoadOptions {
  /** Value of `--config`. */
  readonly file?: string | undefined
  /** Configuration object of a library caller, instead of a file; `file` is then ignored. */
  readonly object?: unknown
  readonly env: Environment
  /** Flags by name with dashes, as `--port`; undefined means absent. */
  readonly flags?: Readonly<Record<string, unknown>>
  readonly cwd: string
  /** Returns the loosening values of an untrusted file instead of throwing, for inspection. */
  readonly mayBeUntrusted?: boolean
}

export interface LoadedConfig {
  readonly config: Config
  /** Origin of a value by its path in the file; a tenant is addressed by name: `tenants`, `acme`, `floor`. */
  readonly originOf: (path: KeyPath) => ValueOrigin
  /** Files read, later ones take precedence; empty if there were none. */
  readonly files: readonly string[]
  readonly warnings: readonly string[]
  /** Loosening values of untrusted files in the current folder; empty unless `mayBeUntrusted` was set. */
  readonly untrusted: readonly Issue[]
  /** First admin key of a server: secret, hence not part of the configuration. */
  readonly adminKey: AdminKey | undefined
}

/**
 * Reads the configuration: defaults, then the file, then its `NAME.ENV.toml` by MAYFLY_ENV, then MAYFLY_*
 * variables, then flags. Throws MayflyError CONFIG, with every issue in `details.issues`, and CONFIG_UNTRUSTED for a
 * file that was found in the current folder, is looser than the defaults, and is not trusted.
 */
export function loadConfig(options: LoadOptions): LoadedConfig {
  const environment = environmentOf(options.env)
  const files = options.object === undefined ? filesOf(options) : []
  // Read once, so that the trusted bytes are the parsed bytes (no TOCTOU).
  const isNamed = !isFound(options)
  const read = files.map((file) => readFile(file, options.cwd, isNamed))
  const merged = mergeLayers([
    ...read.map(({ parsed }) => fileLayer(parsed)),
    ...objectLayers(options.object),
    ...variableLayers(options.env),
    ...flagLayers(options.flags ?? {}),
  ])
  const checked = checkConfig(merged.values, environment)
  if (!checked.ok) {
    const [first, ...rest] = checked.faults
    throw configError([issueOf(first, merged), ...rest.map((fault) => issueOf(fault, merged))])
  }
  const untrusted = isNamed ? [] : untrustedIssues(read, trustedIn(options))
  const [loosest, ...others] = untrusted
  if (loosest && !options.mayBeUntrusted) throw untrustedError([loosest, ...others])
  const state = stateOf(checked.values.state, merged, options)
  return {
    config: finishConfig(withPaths(checked.values, merged, options), {
      state,
      environment,
      ...(merged.values['escalation'] === undefined && { hasDefaultEscalation: true }),
    }),
    originOf: originsOf(merged, checked.values, options.env),
    files,
    warnings: [
      ...variableWarnings(options.env),
      ...unreadFiles(environment, options),
      ...checked.warnings.map((fault) => {
        const { where, message } = issueOf(fault, merged)
        return `${where}: ${message}`
      }),
    ],
    untrusted,
    adminKey: adminKeyOf(options.env),
  }
}

/** True for a file found by search rather than named. */
function isFound({ file, object, env }: LoadOptions): boolean {
  return object === undefined && file === undefined && !env['MAYFLY_CONFIG']
}

/** Folder of the trust list. Never read from a configuration file: an attacker's file could name a folder of its own. */
export function trustedIn({
  env,
  flags = {},
  cwd,
}: Pick<LoadOptions, 'env' | 'flags' | 'cwd'>): string | undefined {
  const flag = flags['--state']
  if (typeof flag === 'string' && flag !== '') return resolve(cwd, flag)
  return attempt(() => stateFolder(env, process.getuid?.()))
}

function environmentOf(env: Environment): string {
  const name = env['MAYFLY_ENV'] || 'development'
  if (ENV_NAME.test(name)) return name
  const message = 'expected 1 to 32 letters, digits, "_" or "-"'
  throw configError([{ message, key: '', where: 'MAYFLY_ENV' }])
}

function filesOf({ file, env, cwd }: LoadOptions): readonly string[] {
  const named = file ?? (env['MAYFLY_CONFIG'] || undefined)
  const main = named ?? 'mayfly.toml'
  const over = env['MAYFLY_ENV'] && fileOf(main, env['MAYFLY_ENV'])
  const exists = (path: string) => hasEntry(resolve(cwd, path))
  return [
    ...(named !== undefined || exists(main) ? [main] : []),
    ...(over && exists(over) ? [over] : []),
  ]
}

function fileOf(main: string, environment: string): string {
  return main.replace(/(\.toml)?$/, `.${environment}.toml`)
}

/** Warning about a file that another spelling of the environment would read: its limits are not in force. */
function unreadFiles(environment: string, { file, object, env, cwd }: LoadOptions): string[] {
  const main = file ?? (env['MAYFLY_CONFIG'] || 'mayfly.toml')
  const exists = (name: string) => hasEntry(resolve(cwd, fileOf(main, name)))
  if (object !== undefined || (env['MAYFLY_ENV'] && exists(environment))) return []
  const others = isProduction({ environment }) ? ['production', 'prod'] : []
  const names = [...new Set([environment.toLowerCase(), ...others])].filter(exists)
  const why = env['MAYFLY_ENV'] ? `MAYFLY_ENV is "${environment}"` : 'MAYFLY_ENV is not set'
  return names.map((name) => `${fileOf(main, name)}: not read, because ${why}`)
}

/**
 * Reads one file of at most 1 MiB; a named one may be a pipe. Throws MayflyError CONFIG if it is unreadable or not TOML.
 */
export function readFile(file: string, cwd: string, isNamed = false): ConfigFile {
  const shown = isAbsolute(file) ? file : relative('.', file)
  const path = resolve(cwd, file)
  const bytes = readBytes(path, shown, isNamed)
  return { path, bytes, parsed: parseToml(textOf(bytes, shown), shown) }
}

function readBytes(path: string, shown: string, isNamed: boolean): Buffer {
  try {
    return readBounded(path, isNamed)
  } catch (cause) {
    throw unreadable(shown, cause)
  }
}

/**
 * Reads a regular file, or a pipe that was named. O_NONBLOCK, because a FIFO may have no writer, whose open(2) would block;
 * fstat(2), because a `mayfly.toml` planted in the current folder may be a link to an endless device.
 */
function readBounded(path: string, mayBePipe: boolean): Buffer {
  const { O_RDONLY, O_NONBLOCK, O_NOCTTY } = constants
  using file = asOwner(path, (at) => openDescriptor(at, O_RDONLY | O_NONBLOCK | O_NOCTTY))
  const stats = fstatSync(file.fd)
  if (mayBePipe && stats.isFIFO()) return readPipe(file.fd, TOML_BYTES_MAX + 1)
  if (!stats.isFile()) throw new Error('it is no plain file')
  return readAt(file.fd, 0, TOML_BYTES_MAX + 1)
}

function textOf(bytes: Buffer, shown: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    const lines = bytes.toString('latin1').split('\n')
    const line = lines.findIndex((one) => !isUtf8(Buffer.from(one, 'latin1'))) + 1
    const message = 'expected text in UTF-8'
    throw configError([{ message, key: '', where: `${shown}:${line}`, file: shown, line }], cause)
  }
}

function unreadable(shown: string, cause: unknown): MayflyError {
  const { because, ...hint } = whyUnreadable(shown, cause)
  return new MayflyError('CONFIG', `Cannot read the configuration "${shown}": ${because}`, {
    ...hint,
    details: { issues: [{ message: because, key: '', where: shown, file: shown }] },
    cause,
  })
}

function objectLayers(object: unknown): readonly ConfigLayer[] {
  if (object === undefined) return []
  if (typeof object !== 'object' || object === null || Array.isArray(object))
    throw configError([{ message: 'expected an object', key: '', where: 'options' }])
  return [{ values: object as Record<string, unknown>, origin: () => ({ label: 'options' }) }]
}

function issueOf({ path, message }: Fault, merged: MergedConfig): Issue {
  return issueAt(merged.originNear(path), path, message)
}

/** Error of a value that comes from there. */
export function issueAt(origin: ValueOrigin, path: KeyPath, message: string): Issue {
  const { label, file, line, column } = origin
  const key = path.join('.')
  const where = column === undefined ? label : `${label}:${column}`
  const place = { ...(file && { file }), ...(line && { line }), ...(column && { column }) }
  return { message: key ? `${key}: ${message}` : message, key, where, ...place }
}

function originsOf(
  { originOf }: MergedConfig,
  values: ConfigValues,
  env: Environment,
): LoadedConfig['originOf'] {
  const index = new Map<unknown, number>(values.tenants.map(({ name }, at) => [name, at]))
  return (path) => {
    if (path[0] === 'environment')
      return env['MAYFLY_ENV'] ? { label: 'MAYFLY_ENV' } : defaultOrigin
    if (path[0] !== 'tenants') return originOf(path)
    return originOf(['tenants', index.get(path[1]) ?? -1, ...path.slice(2)])
  }
}

/** A relative path is resolved against the file that names it, else against the working directory. */
function resolvePath(
  given: string,
  key: KeyPath,
  merged: MergedConfig,
  { cwd }: LoadOptions,
): string {
  const { file } = merged.originOf(key)
  return resolve(cwd, file === undefined ? '.' : dirname(file), given)
}

function stateOf(given: string | undefined, merged: MergedConfig, options: LoadOptions): string {
  if (given === undefined) return defaultState(options.env)
  return resolvePath(given, ['state'], merged, options)
}

function withPaths(values: ConfigValues, merged: MergedConfig, options: LoadOptions): ConfigValues {
  const { folder, modules } = values.providers
  const pathOf = (given: string, ...key: KeyPath) =>
    resolvePath(given, ['providers', ...key], merged, options)
  const providers = {
    ...(folder !== undefined && { folder: pathOf(folder, 'folder') }),
    modules: modules.map((one, index) => pathOf(one, 'modules', index)),
  }
  return { ...values, providers }
}

function defaultState(env: Environment): string {
  try {
    return stateFolder(env, process.getuid?.())
  } catch (cause) {
    throw new MayflyError('CONFIG', messageOf(cause), { cause })
  }
}

function adminKeyOf(env: Environment): AdminKey | undefined {
  const variable = adminKeyVariables.find((name) => env[name])
  return variable && { key: env[variable]!, variable }
}
