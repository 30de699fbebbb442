import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Command, CommanderError } from 'commander'
import { keepPoolAwake } from '../lib/keep-pool-awake.ts'
import { ownArguments } from '../lib/last-flag.ts'
import { asksForHelp, hasFlag, positionals, commandWords } from './command-line.ts'
import { closePrestartedWarden, prestartWarden, wallsAhead } from './prestart-warden.ts'
import type { StartedServer } from '../warden/start-server.ts'
import { watchReaders } from './broken-pipe.ts'
import { askForRights, enterRole } from './role.ts'
import {
  needsWardenParent,
  runAsWarden,
  reexecAsStateOwner,
  reexecWithSmallHeap,
} from './become-warden.ts'

interface Verb {
  register(program: Command): void
}

/** File of each verb; only the requested one is loaded. Help and completion load all. */
const verbs: Readonly<Record<string, () => Promise<Verb>>> = {
  run: () => import('./run.ts'),
  serve: () => import('./serve.ts'),
  analyze: () => import('./analyze.ts'),
  inspect: () => import('./inspect.ts'),
  providers: () => import('./providers.ts'),
  doctor: () => import('./doctor.ts'),
  setup: () => import('./setup.ts'),
  audit: () => import('./audit.ts'),
  state: () => import('./state.ts'),
  evidence: () => import('./evidence.ts'),
  keys: () => import('./keys.ts'),
  access: () => import('./access.ts'),
  policy: () => import('./policy.ts'),
  exec: () => import('./exec.ts'),
  sandbox: () => import('./sandbox.ts'),
  images: () => import('./images.ts'),
  mcp: () => import('./mcp.ts'),
  bench: () => import('./bench.ts'),
  completion: () => import('./completion.ts'),
}

/**
 * Runs one command line and sets `process.exitCode`. Never throws. A root process calls `keepCode` before it drops its rights.
 * `startedAhead`: the server of a single run, if it was started before this was loaded.
 */
export async function main(
  argv: readonly string[],
  keepCode?: () => void,
  startedAhead?: StartedServer,
): Promise<void> {
  const own = ownArguments(argv)
  const [verb] = commandWords(argv)
  watchReaders()
  keepPoolAwake()
  const scratch = verb === 'bench' ? scratchState(own) : undefined
  try {
    reexecWithSmallHeap(verb, argv)
    await reexecAsStateOwner(verb, argv)
    await enterRole()
    if (verb === 'run' && (await attached(argv, keepCode))) return
    const ahead = wallsAhead(verb, own)
    if (needsWardenParent(verb, argv)) await runAsWarden(argv, ahead, startedAhead)
    else {
      if (verb === 'run' || verb === 'exec') await import('../lib/interpret-schemas.ts')
      await prestartWarden(ahead)
      await parse(argv, verb)
    }
  } catch (thrown) {
    askForRights()
    const isWithoutCommand = verb === 'exec' && own.length === argv.length
    const form = isWithoutCommand ? 'mayfly exec [flags] -- ls -la' : undefined
    await fail(thrown, hasFlag(own, '--json'), form)
  } finally {
    await closePrestartedWarden()
    scratch?.()
  }
}

/** True if a server ran the job. Called before large modules are loaded. */
async function attached(argv: readonly string[], keepCode?: () => void): Promise<boolean> {
  const { runAttached } = await import('./attach-first.ts')
  return runAttached(argv, () => parse(argv, 'run'), keepCode)
}

/** Temporary state folder for benchmarks, which would clutter the audit log. */
function scratchState(own: readonly string[]): (() => void) | undefined {
  if (hasFlag(own, '--state') || process.env['MAYFLY_ROLE'] || asksForHelp(own)) return
  let folder: string | undefined
  const remove = (): void => {
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
  }
  // Until the command or the warden has a handler, which ends its work first, a signal ends this process at once.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const)
    process.once(signal, () => {
      if (process.listenerCount(signal) > 0) return
      remove()
      process.kill(process.pid, signal)
    })
  folder = mkdtempSync(join(tmpdir(), 'mayfly-bench-'))
  process.env['MAYFLY_STATE'] = join(folder, 'state')
  chmodSync(folder, 0o711)
  return remove
}

async function parse(argv: readonly string[], verb: string | undefined): Promise<void> {
  const program = await newProgram()
  const isVersion = verb === undefined && (argv.includes('--version') || argv.includes('-V'))
  const names = Object.keys(verbs)
  const named = names.filter((name) => name === verb && name !== 'completion')
  for (const name of isVersion ? [] : named.length > 0 ? named : names) {
    const { register } = await verbs[name]!()
    register(program)
  }
  for (const command of allOf(program)) command.exitOverride()
  if (argv.length === 0) program.outputHelp()
  else await program.parseAsync(withoutVainHelp(spelledOut(argv), program), { from: 'user' })
}

/** Without `--help` of an unknown command: Commander would show the help of its group, as if it were one, and exit with 0. */
function withoutVainHelp(argv: readonly string[], program: Command): readonly string[] {
  const own = ownArguments(argv)
  // A word behind a flag may be its value.
  const isPlain = (word: string): boolean => !own[own.indexOf(word) - 1]?.startsWith('-')
  const words = positionals(own)
  const [first, ...rest] = words
  if (first === 'help' && isUnknown(rest, program)) return argv.filter((word) => word !== 'help')
  if (!words.every(isPlain) || !isUnknown(words, program)) return argv
  return argv.filter((word, at) => at >= own.length || (word !== '--help' && word !== '-h'))
}

function isUnknown([name, ...rest]: readonly string[], { commands }: Command): boolean {
  if (name === undefined || name === 'help' || commands.length === 0) return false
  const command = commands.find((one) => one.name() === name || one.aliases().includes(name))
  return command ? isUnknown(rest, command) : true
}

/** `--json=short` as two flags: as an optional value of `--json`, the parser would take the file behind it. */
function spelledOut(argv: readonly string[]): readonly string[] {
  const own = ownArguments(argv)
  return argv.flatMap((word, at) =>
    word === '--json=short' && at < own.length ? ['--json', '--short'] : [word],
  )
}

async function newProgram(): Promise<Command> {
  const [{ Command, Option }, { sanitise }, { default: manifest }] = await Promise.all([
    import('commander'),
    import('../output/sanitise.ts'),
    import('../../package.json', { with: { type: 'json' } }),
  ])
  return (
    new Command('mayfly')
      .description('Runs untrusted code in the cheapest sandbox that is safe enough')
      .version(manifest.version)
      .option(
        '--json',
        'print one JSON document on stdout and nothing else; "run" also has --json=short',
      )
      .addOption(new Option('--short').hideHelp())
      .option('--quiet', 'no progress')
      .option('--verbose', 'print events and stack traces')
      .option('--config <file>', 'configuration file; default: ./mayfly.toml')
      .option('--state <folder>', 'folder of record, keys and leases')
      .configureHelp({ showGlobalOptions: true })
      // A word may be the name of a hostile file, as of "analyze *".
      .configureOutput({ outputError: (text, write) => write(sanitise(text)) })
      .showHelpAfterError('(--help lists commands and options)')
      .addHelpText('after', examples)
  )
}

const examples = `
Examples:
  echo 'print(6 * 7)' | mayfly run - --language python
  mayfly run report.py --file sales.csv --artifacts out
  mayfly exec -- npm test
  mayfly analyze suspicious.js
  mayfly serve

"mayfly help COMMAND" describes a command.`

/** Commander throws for help too, which is no error. `form`: how the command line is written, where that may be the mistake. */
async function fail(thrown: unknown, json: boolean, form?: string): Promise<void> {
  const { printError } = await import('./print.ts')
  const code = (thrown as CommanderError | undefined)?.code
  if (!String(code).startsWith('commander.')) return printError(thrown, json)
  const usage = thrown as CommanderError
  if (usage.exitCode === 0) return
  const { MayflyError } = await import('../contract/error.ts')
  process.exitCode = 2
  const hint = form && `A command and its own options go after "--": ${form}`
  if (!json && hint) process.stderr.write(`  ${hint}\n`)
  if (!json) return
  const message =
    usage.code === 'commander.help'
      ? 'Cannot run this command line: it names no command; --help lists commands and options'
      : usage.message.replace(/^error: /, '')
  printError(new MayflyError('USAGE', message, hint ? { hint } : {}), json)
}

function allOf(command: Command): Command[] {
  return [command, ...command.commands.flatMap(allOf)]
}
