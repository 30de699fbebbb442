import { resolve } from 'node:path'
import { MayflyError } from '../contract/error.ts'
import { shellWord } from '../lib/shell-word.ts'
import { ownProgram } from './own-command.ts'

export interface InstallFlags {
  /** Address of `/mcp` of a running server. */
  readonly url?: string
  readonly config?: string
  readonly state?: string
}

export interface InstallText {
  /** Place of the configuration, as an instruction to the reader. */
  readonly where: string
  readonly configuration: string
}

/** Server, as written into a client's configuration. */
type McpTarget =
  | { readonly kind: 'stdio'; readonly command: string; readonly args: readonly string[] }
  | { readonly kind: 'http'; readonly url: string }

type Write = (target: McpTarget) => InstallText

/** Variable that is referenced instead of a key, because a configuration file must not contain a key. */
const KEY = 'MAYFLY_API_KEY'

/** Clients by the argument of `mayfly mcp install`. */
export const mcpClients: Readonly<Record<string, Write>> = {
  'claude-code': (target) => ({
    where: 'Run this command; with --scope user it applies to all projects:',
    configuration:
      target.kind === 'http'
        ? `claude mcp add --transport http mayfly ${target.url} --header "Authorization: Bearer $${KEY}"`
        : `claude mcp add mayfly -- ${[target.command, ...target.args].map(shellWord).join(' ')}`,
  }),
  'claude-desktop': inJson('claude_desktop_config.json (Settings, Developer, Edit Config)', {
    http: () => refused('claude-desktop', 'its configuration supports programs only; omit --url'),
  }),
  cursor: inJson('~/.cursor/mcp.json, or .cursor/mcp.json of a project', {
    http: (url) => ({ url, headers: bearerOf(`\${env:${KEY}}`) }),
  }),
  vscode: inJson('.vscode/mcp.json of a project, or the user configuration of MCP servers', {
    root: 'servers',
    stdio: { type: 'stdio' },
    http: (url) => ({ type: 'http', url, headers: bearerOf(`\${env:${KEY}}`) }),
  }),
  codex: (target) => ({
    where: 'Add this to ~/.codex/config.toml:',
    configuration:
      target.kind === 'http'
        ? `[mcp_servers.mayfly]\nurl = ${JSON.stringify(target.url)}\nbearer_token_env_var = "${KEY}"`
        : `[mcp_servers.mayfly]\ncommand = ${JSON.stringify(target.command)}\nargs = ${JSON.stringify(target.args)}`,
  }),
  gemini: inJson('~/.gemini/settings.json, or .gemini/settings.json of a project', {
    http: (httpUrl) => ({ httpUrl, headers: bearerOf(`$${KEY}`) }),
  }),
  windsurf: inJson('~/.codeium/windsurf/mcp_config.json', {
    http: (serverUrl) => ({ serverUrl, headers: bearerOf(`\${env:${KEY}}`) }),
  }),
}

/** Configuration of one client. Throws MayflyError USAGE. */
export function installText(client: string, flags: InstallFlags): InstallText {
  const write = Object.hasOwn(mcpClients, client) ? mcpClients[client] : undefined
  if (!write)
    throw new MayflyError('USAGE', `Cannot write a configuration for "${client}"`, {
      hint: `Use one of ${Object.keys(mcpClients).join(', ')}`,
    })
  return write(targetOf(flags))
}

/** Program with the same Node and checkout by absolute paths, because clients start it with another PATH and folder. */
function targetOf({ url, config, state }: InstallFlags): McpTarget {
  if (url === undefined) {
    const named = [config && ['--config', resolve(config)], state && ['--state', resolve(state)]]
    const flags = named.flatMap((pair) => pair || [])
    return { kind: 'stdio', command: process.execPath, args: [ownProgram, 'mcp', ...flags] }
  }
  if (URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)) return { kind: 'http', url }
  throw new MayflyError('USAGE', `Cannot use "${url}" as the URL of a server`, {
    hint: 'Give a URL such as http://127.0.0.1:7421/mcp',
  })
}

interface JsonForm {
  /** Member of the configuration with all servers; default: mcpServers. */
  readonly root?: string
  /** Further members of an entry with a program. */
  readonly stdio?: object
  readonly http: (url: string) => object
}

function inJson(file: string, { root = 'mcpServers', stdio, http }: JsonForm): Write {
  return (target) => {
    const { kind, ...program } = target
    const mayfly = kind === 'http' ? http(target.url) : { ...stdio, ...program }
    const configuration = JSON.stringify({ [root]: { mayfly } }, undefined, 2)
    return { where: `Add this to ${file}:`, configuration }
  }
}

function bearerOf(key: string): object {
  return { Authorization: `Bearer ${key}` }
}

function refused(client: string, why: string): never {
  throw new MayflyError('USAGE', `Cannot configure "${client}" with a URL: ${why}`)
}
