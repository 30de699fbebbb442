import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Command, CommanderError } from 'commander'
import { closeEarly, startEarly } from './early.ts'
import { enterRole } from './role.ts'
import { belongsElsewhere, runElsewhere, startAsOwner, startSmall } from './elsewhere.ts'

/** A file a verb; only the one that is asked for is loaded, but by the one that tells of them all. */
const verbs = [
  'run',
  'serve',
  'analyze',
  'providers',
  'doctor',
  'audit',
  'evidence',
  'keys',
  'access',
  'policy',
  'sandbox',
  'bench',
  'completion',
] as const

/** Runs one command line. Sets `process.exitCode`; throws nothing. */
export async function main(argv: readonly string[]): Promise<void> {
  const dashes = argv.indexOf('--')
  // Behind them are words of a program that is run, which say nothing to Mayfly.
  const own = dashes < 0 ? argv : argv.slice(0, dashes)
  const verb = own.find((word) => !word.startsWith('-'))
  const scratch = verb === 'bench' ? scratchState(own) : undefined
  try {
    startSmall(verb, own)
    await startAsOwner(verb, own)
    await enterRole()
    await startEarly(verb, own)
    if (belongsElsewhere(verb, own)) await runElsewhere(argv)
    else await parse(argv, verb)
  } catch (thrown) {
    await fail(
      thrown,
      own.some((word) => word === '--json' || word.startsWith('--json=')),
    )
  } finally {
    await closeEarly()
    scratch?.()
  }
}

/** Figures are no runs that anybody would look for in the record: they have a state folder for as long as they take. */
function scratchState(own: readonly string[]): (() => void) | undefined {
  const isNamed = own.some((word) => word === '--state' || word.startsWith('--state='))
  if (isNamed || process.env['MAYFLY_ROLE'] || own.includes('--help') || own.includes('-h')) return
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-bench-'))
  process.env['MAYFLY_STATE'] = join(folder, 'state')
  chmodSync(folder, 0o711)
  return () => rmSync(folder, { recursive: true, force: true })
}

async function parse(argv: readonly string[], verb: string | undefined): Promise<void> {
  const program = await newProgram()
  const isVersion = verb === undefined && (argv.includes('--version') || argv.includes('-V'))
  const named = verbs.filter((name) => name === verb && name !== 'completion')
  for (const name of isVersion ? [] : named.length > 0 ? named : verbs) {
    const { register } = (await import(`./${name}.ts`)) as { register: (program: Command) => void }
    register(program)
  }
  for (const command of allOf(program)) command.exitOverride()
  if (argv.length === 0) program.outputHelp()
  else await program.parseAsync(spelledOut(argv), { from: 'user' })
}

/** `--json=short` as two flags: as an optional value of `--json`, the parser would take the file behind it. */
function spelledOut(argv: readonly string[]): readonly string[] {
  const dashes = argv.indexOf('--')
  return argv.flatMap((word, at) =>
    word === '--json=short' && (dashes < 0 || at < dashes) ? ['--json', '--short'] : [word],
  )
}

async function newProgram(): Promise<Command> {
  const [{ Command, Option }, { default: manifest }] = await Promise.all([
    import('commander'),
    import('../../package.json', { with: { type: 'json' } }),
  ])
  return new Command('mayfly')
    .description('Runs code that nobody trusts in the cheapest sandbox that is safe enough for it')
    .version(manifest.version)
    .option('--json', 'one JSON document on stdout, nothing else there; of run also --json=short')
    .addOption(new Option('--short').hideHelp())
    .option('--quiet', 'no progress')
    .option('--verbose', 'more of what happens')
    .option('--config <file>', 'configuration, in place of ./mayfly.toml')
    .option('--state <folder>', 'where log, keys and leases are kept')
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError('(--help shows what there is)')
}

/** Commander throws for help and for usage alike; help is no error. */
async function fail(thrown: unknown, json: boolean): Promise<void> {
  const { printError } = await import('./print.ts')
  const code = (thrown as CommanderError | undefined)?.code
  if (!String(code).startsWith('commander.')) return printError(thrown, json)
  const usage = thrown as CommanderError
  if (usage.exitCode === 0) return
  const { MayflyError } = await import('../contract/error.ts')
  process.exitCode = 2
  if (json) printError(new MayflyError('USAGE', usage.message), json)
}

function allOf(command: Command): Command[] {
  return [command, ...command.commands.flatMap(allOf)]
}
