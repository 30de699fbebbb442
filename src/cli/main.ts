import { Command, CommanderError } from 'commander'
import { MayflyError } from '../contract/error.ts'
import { usageExitCode } from '../contract/outcome.ts'
import { printError } from './print.ts'

/** A file a verb; only the one that is asked for is loaded. */
const verbs = [
  'run',
  'serve',
  'analyze',
  'providers',
  'doctor',
  'audit',
  'policy',
  'bench',
] as const

/** Runs one command line. Sets `process.exitCode`; throws nothing. */
export async function main(argv: readonly string[]): Promise<void> {
  const program = new Command('mayfly')
    .description('Runs code that nobody trusts in the cheapest sandbox that is safe enough for it')
    .version(await version())
    .option('--json', 'one JSON document on stdout, nothing else there')
    .option('--quiet', 'no progress')
    .option('--verbose', 'more of what happens')
    .option('--config <file>', 'configuration, in place of ./mayfly.toml')
    .option('--state <folder>', 'where log, keys and leases are kept')
    .exitOverride()
    .showHelpAfterError('(--help shows what there is)')
  const verb = argv.find((word) => !word.startsWith('-'))
  const isVersion = verb === undefined && (argv.includes('--version') || argv.includes('-V'))
  const wanted = verbs.filter((name) => verb === undefined || verb === 'help' || name === verb)
  try {
    for (const name of isVersion ? [] : wanted.length > 0 ? wanted : verbs) {
      const { register } = (await import(`./${name}.ts`)) as {
        register: (program: Command) => void
      }
      register(program)
    }
    for (const command of allOf(program)) command.exitOverride()
    if (argv.length === 0) program.outputHelp()
    else await program.parseAsync(argv, { from: 'user' })
  } catch (thrown) {
    fail(thrown, argv.includes('--json'))
  }
}

function fail(thrown: unknown, json: boolean): void {
  if (!(thrown instanceof CommanderError)) return printError(thrown, json)
  if (thrown.exitCode === 0) return
  process.exitCode = usageExitCode
  if (json) printError(new MayflyError('USAGE', thrown.message), json)
}

function allOf(command: Command): Command[] {
  return [command, ...command.commands.flatMap(allOf)]
}

async function version(): Promise<string> {
  const { default: manifest } = await import('../../package.json', { with: { type: 'json' } })
  return manifest.version
}
