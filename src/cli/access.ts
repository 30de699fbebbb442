import type { Command } from 'commander'
import { MayflyError } from '../contract/error.ts'
import {
  createKey,
  isLive,
  apiKeysFile,
  readKeys,
  revokeKey,
  scopes,
  type StoredKey,
} from '../gateway/http/key-store.ts'
import { expiryOf } from './expiry.ts'
import { loadCliConfig } from './open-assembly.ts'
import { note, printJson, printText, table, type Globals } from './print.ts'
import { recordChanges } from './record-changes.ts'
import { verb } from './verb.ts'

/** `mayfly access …`: API keys of this state folder. A running server applies changes with its next request. */
export function register(program: Command): void {
  const access = program
    .command('access')
    .description('create, list and revoke API keys')
    .addHelpText('after', examples)
  access
    .command('create')
    .description('create a key, and print it; it is not shown again')
    .option('--tenant <name>', 'tenant of the key', 'default')
    .option('--scope <scope...>', `one or more of ${scopes.join(', ')}; default: run and read`)
    .option('--name <name>', 'name of the key')
    .option('--expires <time>', 'expiry, such as 90d, 2030-01-31 or never', 'never')
    .action(verb(create))
  access.command('list').description('list keys, without their secrets').action(verb(list))
  access
    .command('revoke')
    .description('revoke a key; the next request with it is refused')
    .argument('<key>', 'id or name of the key')
    .action(verb(revoke))
}

const examples = `
Examples:
  mayfly access create --tenant acme --name ci --scope run --expires 90d
  mayfly access list
  mayfly access revoke ci`

interface Flags extends Globals {
  readonly tenant: string
  readonly scope?: readonly string[]
  readonly name?: string
  readonly expires: string
}

async function create(flags: Flags): Promise<void> {
  const { config } = loadCliConfig(flags)
  const at = Date.now()
  const wanted = {
    tenant: tenantOf(flags.tenant),
    scopes: (flags.scope ?? ['run', 'read']).map(scopeOf),
    name: flags.name,
    expires: expiryOf(flags.expires, at),
    at,
  }
  const { key, stored } = await recordChanges(config.state, (record) =>
    createKey(apiKeysFile(config.state), wanted, (made) =>
      record('access/created', shown(made), made.tenant),
    ),
  )
  if (flags.json) return printJson({ key, ...shown(stored) })
  printText(key)
  note(flags, `${stored.id}: ${stored.scopes.join(', ')} in tenant "${stored.tenant}"; shown once`)
  if (!config.tenants.some(({ name }) => name === stored.tenant))
    note(flags, `Tenant "${stored.tenant}" is not configured; settings of "default" apply to it`)
}

async function list(flags: Flags): Promise<void> {
  const keys = readKeys(apiKeysFile(loadCliConfig(flags).config.state)) ?? []
  const rows = keys.map((key) => ({ ...shown(key), state: stateOf(key) }))
  if (flags.json) return printJson(rows)
  if (rows.length === 0) return note(flags, 'No keys')
  const head = ['id', 'name', 'tenant', 'scopes', 'state']
  const cells = rows.map(({ id, name, tenant, scopes, state }) => [
    id,
    name ?? '-',
    tenant,
    scopes.join(','),
    state,
  ])
  printText(table([head, ...cells]))
}

async function revoke(flags: Flags, idOrName: string): Promise<void> {
  const { config } = loadCliConfig(flags)
  const revoked = await recordChanges(config.state, (record) =>
    revokeKey(apiKeysFile(config.state), { idOrName, at: Date.now() }, (one) =>
      record('access/revoked', shown(one), one.tenant),
    ),
  )
  if (flags.json) return printJson({ ...shown(revoked), state: stateOf(revoked) })
  note(flags, `Revoked ${revoked.id}; effective from the next request`)
}

/** Key for display, without its digest. */
function shown({ id, name, tenant, scopes, created, expires, revoked }: StoredKey) {
  return { id, name, tenant, scopes, created, expires, revoked }
}

function stateOf(key: StoredKey): string {
  if (key.revoked !== undefined) return `revoked ${key.revoked}`
  if (!isLive(key, Date.now())) return `expired ${key.expires}`
  return key.expires ? `until ${key.expires}` : 'live'
}

function tenantOf(name: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name)) return name
  throw new MayflyError('USAGE', `Cannot use "${name}" as a tenant's name`, {
    hint: 'Use 1 to 64 letters, digits, ".", "_" or "-"',
  })
}

function scopeOf(text: string): (typeof scopes)[number] {
  const scope = scopes.find((one) => one === text)
  if (scope) return scope
  throw new MayflyError('USAGE', `Cannot use the scope "${text}": expected ${scopes.join(', ')}`)
}
