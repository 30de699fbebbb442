/**
 * Executes (execve) the program of a configured MCP server: `operator-program.ts NAME [--config F] [--state DIR]`. The
 * warden starts it as the server's user (`src/warden/operator-programs.ts`), with its standard streams as the connection.
 */
import { constants, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { loadConfig } from '../config/load.ts'
import { messageOf } from '../contract/error.ts'
import { mayAccess } from '../lib/may-access.ts'

const CANNOT_RUN = 126
/** Variables passed to every program; others are named in the configuration. */
const usual = ['PATH', 'HOME', 'USER', 'LANG', 'TMPDIR', 'XDG_CACHE_HOME'] as const

try {
  become()
} catch (thrown) {
  process.stderr.write(`mayfly: ${messageOf(thrown)}\n`)
  process.exitCode = CANNOT_RUN
}

function become(): void {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { config: { type: 'string' }, state: { type: 'string' } },
  })
  const [name] = positionals
  const { config } = loadConfig({
    file: values.config,
    env: process.env,
    flags: { '--state': values.state },
    cwd: process.cwd(),
  })
  const server = config.mcp.servers.find((one) => one.name === name)
  if (!server?.command)
    throw new Error(`No MCP server "${name}" of the configuration has a command`)
  const env: Record<string, string> = {}
  for (const variable of [...usual, ...server.env]) {
    const value = process.env[variable]
    if (value !== undefined) env[variable] = value
  }
  if (!server.env.includes('HOME')) Object.assign(env, homeOf(server.name, config.state))
  // The shell searches PATH, which execve(2) does not.
  process.execve?.('/bin/sh', ['sh', '-c', 'exec "$@"', 'sh', ...server.command], env)
  throw new Error('Cannot start the program: this Node has no process.execve')
}

/**
 * HOME of a program that may not write to the one it would inherit, as where root started the server, which has another uid: a folder
 * of its own in the state folder.
 */
function homeOf(name: string, state: string): Record<string, string> {
  const writable = (folder: string | undefined) =>
    folder !== undefined && mayAccess(folder, constants.W_OK | constants.X_OK)
  if (writable(process.env['HOME'])) return {}
  const home = join(state, 'mcp', encodeURIComponent(name))
  mkdirSync(home, { recursive: true, mode: 0o700 })
  const cache = writable(process.env['XDG_CACHE_HOME'])
    ? {}
    : { XDG_CACHE_HOME: join(home, '.cache') }
  return { HOME: home, ...cache }
}
