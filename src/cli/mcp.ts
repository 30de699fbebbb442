import type { Command } from 'commander'
import { note, printText, type Globals } from './print.ts'
import { stopSignal } from './stop-signal.ts'
import { verb } from './verb.ts'
import { mcpClients } from './mcp-clients.ts'
import { version } from './version.ts'

export function register(program: Command): void {
  const command = program
    .command('mcp')
    .description('serve MCP on stdio: tools that run code, for an agent on this machine')
    .addHelpText('after', examples)
    .action(verb(serveMcp))
  const install = command
    .command('install')
    .description('print the configuration for a client; changes nothing')
  install
    .addArgument(install.createArgument('<client>', 'the client').choices(Object.keys(mcpClients)))
    .option('--url <address>', 'URL of a running server; default: a server on stdio')
    .action(verb(printInstall))
}

const examples = `
Serves until its standard input ends. Code runs within the configuration's limits and, unless the configuration grants
more, without a network. A server of "mayfly serve" has the same tools at /mcp, for an API key of scope run.

Examples:
  mayfly mcp install claude-code
  mayfly mcp install vscode --url http://127.0.0.1:7421/mcp
  mayfly mcp --config agents.toml`

async function serveMcp(flags: Globals): Promise<void> {
  const stopped = stopSignal()
  const { openAssembly } = await import('./open-assembly.ts')

  await using here = await openAssembly(flags, 'library')
  const [{ serveOnStdio }, { messageOf }] = await Promise.all([
    import('../mcp/stdio.ts'),
    import('../contract/error.ts'),
  ])
  const about = await version()
  note(flags, `Mayfly ${about} serves MCP on standard input and output`)
  await serveOnStdio({
    assembly: here.assembly,
    version: about,
    startProgram: (name) => here.warden.program(name),
    input: process.stdin,
    output: process.stdout,
    stopped,
    report: (error) => note(flags, messageOf(error)),
  })
}

async function printInstall(flags: Globals & { readonly url?: string }, client: string) {
  const { installText } = await import('./mcp-clients.ts')
  const { printJson } = await import('./print.ts')
  const text = installText(client, flags)
  if (flags.json) printJson({ client, ...text })
  else printText(`${text.where}\n\n${text.configuration}`)
}
