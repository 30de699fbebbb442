import { existsSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'
import type { SecureContextOptions } from 'node:tls'
import { fault, type Fault } from '../config/fault.ts'
import { issueAt, type LoadedConfig } from '../config/load.ts'
import type { Issue } from '../config/parse.ts'
import { nearHint } from '../config/variables.ts'
import type { Config } from '../contract/config.ts'
import { messageOf } from '../contract/error.ts'
import { isLoopback } from '../gateway/http/origin.ts'
import { pageTenant } from '../gateway/http/visitor-ceilings.ts'
import { isPipe, readPlainFile } from '../lib/file-descriptor.ts'
import { findModules } from '../provider-modules/find.ts'
import { readSecretFile } from '../telemetry/webhooks/secret-file.ts'
import type { CliIo } from './cli-io.ts'
import { actAsOwner } from './owner-rights.ts'
import { unknownProviders } from './unknown-providers.ts'

/** Findings beyond the text of the configuration, by the files, programs, tenants and providers that it names. */
export interface NamedThings {
  readonly issues: readonly Issue[]
  readonly warnings: readonly string[]
}

type Place = Pick<CliIo, 'cwd' | 'env'>

/** A fault of a file; `isClosed` if this user may not read it, as the user of the server might. */
interface FileFault extends Fault {
  readonly isClosed: boolean
}

export function checkNamedThings(loaded: LoadedConfig, place: Place): NamedThings {
  const { config, originOf } = loaded
  const files = filesFaults(config, place)
  const issue = ({ path, message }: Fault) => issueAt(originOf(path), path, message)
  const hints = [
    ...files.filter(({ isClosed }) => isClosed),
    ...clearFaults(config.server),
    ...moduleFaults(config),
    ...tenantFaults(config),
    ...programFaults(config, place),
  ]
  return {
    issues: files.filter(({ isClosed }) => !isClosed).map(issue),
    warnings: [...hints.map(issue), ...unknownProviders(loaded)].map(
      ({ where, message }) => `${where}: ${message}`,
    ),
  }
}

/** Faults of secrets and of the certificate, which are read with the rights of the server where root has given it the state folder. */
function filesFaults(config: Config, { cwd }: Place): readonly FileFault[] {
  const rights = actAsOwner(config.state)
  try {
    const secrets = config.webhooks.flatMap(({ secret_file: file }, index) =>
      failure(['webhooks', index, 'secret_file'], () => readSecretFile(resolve(cwd, file))),
    )
    return [...secrets, ...tlsFaults(config.server, cwd)]
  } finally {
    rights?.restore()
  }
}

/** Warning of an address on which a server refuses to start, unless a flag gives it a certificate. */
function clearFaults({ host, tls_cert, tls_dev, insecure_http }: Config['server']) {
  if (isLoopback(host) || tls_cert !== undefined || tls_dev || insecure_http) return []
  const expected =
    'expected "tls_cert" and "tls_key", or "insecure_http", beside an address off loopback'
  return [fault(['server', 'host'], expected)]
}

/** Faults of the certificate and its key; pipes are left to the server, which alone can read them. */
function tlsFaults({ tls_cert, tls_key }: Config['server'], cwd: string): readonly FileFault[] {
  const files = [resolve(cwd, tls_cert ?? ''), resolve(cwd, tls_key ?? '')] as const
  if (tls_cert === undefined || files.some(isPipe)) return []
  const pem: SecureContextOptions = {}
  const look = (key: 'cert' | 'key', file: string, expected: string) =>
    failure(['server', `tls_${key}`], () => {
      const text = readPlainFile(file)
      assertTls({ [key]: text }, expected)
      pem[key] = text
    })
  const own = [
    ...look('cert', files[0], 'a certificate with its chain, as PEM'),
    ...look('key', files[1], 'a private key as PEM without a passphrase'),
  ]
  if (own.length > 0) return own
  return failure(['server', 'tls_key'], () => assertTls(pem, 'the key of the certificate'))
}

function assertTls(options: SecureContextOptions, expected: string): void {
  try {
    process.getBuiltinModule('node:tls').createSecureContext(options)
  } catch (thrown) {
    throw new Error(`expected ${expected}: ${messageOf(thrown)}`, { cause: thrown })
  }
}

function failure(path: Fault['path'], work: () => unknown): readonly FileFault[] {
  try {
    work()
    return []
  } catch (thrown) {
    const isClosed = (thrown as NodeJS.ErrnoException).code === 'EACCES'
    return [{ ...fault(path, messageOf(thrown)), isClosed }]
  }
}

/** Provider modules that could not be loaded; a server starts without them. */
function moduleFaults({ providers, state }: Config): readonly Fault[] {
  const trust = { owners: new Set([0, process.geteuid?.() ?? 0]), jobFolders: [state] }
  return findModules(providers, trust).flatMap(({ path, fault: found }) => {
    const index = providers.modules.indexOf(path)
    const key = index < 0 ? ['folder'] : ['modules', index]
    return found ? [fault(['providers', ...key], found.message)] : []
  })
}

/** Tenants of MCP servers without a table: right only for those that have keys alone. */
function tenantFaults({ mcp, tenants }: Config): readonly Fault[] {
  const known = [...tenants.map(({ name }) => name), pageTenant]
  return mcp.servers.flatMap(({ tenants: named = [] }, server) =>
    named.flatMap((name, index) => {
      if (known.includes(name)) return []
      const path = ['mcp', 'servers', server, 'tenants', index]
      const hint = nearHint(name, known) || ': one that only keys name?'
      return [fault(path, `[[tenants]] has no "${name}"${hint}`)]
    }),
  )
}

/** Programs that this machine does not have: those of MCP servers could not start, zones of them would apply to no program of it. */
function programFaults({ mcp, schedules }: Config, place: Place): readonly Fault[] {
  const missing = (name: string, path: Fault['path'], more = '') =>
    isProgram(name, place) ? [] : [fault(path, `this machine has no program "${name}"${more}`)]
  const servers = mcp.servers.flatMap(({ command: [name] = [] }, index) =>
    name === undefined ? [] : missing(name, ['mcp', 'servers', index, 'command']),
  )
  const zones = Object.entries(schedules).flatMap(([schedule, { zones: all }]) =>
    Object.entries(all).flatMap(([zone, { program = [] }]) =>
      program.flatMap((name) => {
        const path = ['schedules', schedule, 'zones', zone, 'program']
        return missing(name, path, ': the zone applies only to one of an image or a job')
      }),
    ),
  )
  return [...servers, ...zones]
}

const usualFolders = ['/usr/local/bin', '/usr/bin', '/bin', '/usr/sbin', '/sbin']

function isProgram(name: string, { cwd, env }: Place): boolean {
  if (name.includes('*')) return true
  if (name.includes('/')) return existsSync(resolve(cwd, name))
  const folders = [...(env['PATH'] ?? '').split(delimiter), ...usualFolders]
  return folders.some((folder) => existsSync(join(resolve(cwd, folder), name)))
}
