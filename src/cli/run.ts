import type { Command } from 'commander'
import { MayflyError } from '../contract/error.ts'
import { entries, askable, languages } from '../contract/job.ts'
import { namedTiers } from '../contract/tier.ts'
import type { RunFlags } from './run-flags.ts'
import { runFile } from './run-file.ts'

export function register(program: Command): void {
  program
    .command('run')
    .description('run one job here, without a server')
    .argument('<file>', 'the program; - reads it from stdin')
    .argument('[args...]', 'behind --: arguments of the program')
    .option('--language <name>', `one of ${languages.join(' ')}`, oneOf('language', languages))
    .option('--entry <kind>', `one of ${publicEntries.join(' ')}`, oneOf('entry', publicEntries))
    .option('--tier <tier>', 'exactly this kind of wall', oneOf('tier', namedTiers))
    .option('--floor <tier>', 'at least this kind of wall', oneOf('floor', namedTiers))
    .option('--shadow <tier>', 'run it on that tier too, and compare', oneOf('shadow', namedTiers))
    .option('--provider <name>', 'exactly this provider')
    .option('--image <name>', 'an image whose files are the root of the program: a tag or digest')
    .option('--input <json>', 'JSON, or @FILE')
    .option('--batch <json>', 'a list of inputs, or @FILE: one call for each, in one sandbox')
    .option('--file <path...>', 'a file or folder the job brings; PATH or PATH=NAME INSIDE')
    .option(
      '--file-secrets',
      'bring .env, .git, keys and the like as well, where a folder has them',
    )
    .option(
      '--packages <folder...>',
      'a project, node_modules, virtual environment or folder of wheels, read-only',
    )
    .option('--no-packages', 'leave out the node_modules beside the program')
    .option(
      '--env <variable>',
      'NAME=VALUE for its environment; NAME passes on that of Mayfly',
      each,
    )
    .option('--stdin', 'wait for the end of standard input, however long that takes')
    .option('--signature <file...>', 'what "mayfly keys sign" made of it')
    .option('--schedule <name>', 'a schedule of the configuration')
    .option('--timeout <time>', 'such as 500ms or 5s')
    .option('--memory <size>', 'such as 64MB')
    .option('--cpu <cores>', 'such as 0.5', number)
    .option('--disk <size>', 'such as 64MB: files of the job and those it makes')
    .option('--output <size>', 'such as 1MB: the most of each of stdout and stderr')
    .option('--artifacts-max <size>', 'such as 16MB: the most of all artifacts together')
    .option('--processes <count>', 'the most processes and threads', number)
    .option('--instructions <count>', 'the most that a WebAssembly module may run', number)
    .option('--allow <host...>', 'hosts it may reach')
    .option('--capability <name...>', `of ${askable.join(' ')}`, eachOf('capability', askable))
    .option('--output-schema <file>', 'a JSON Schema that the result must match')
    .option('--artifacts <folder>', 'where to put the files it made')
    .option('--pass-exit-code', 'exit as the program did, where it ended by itself')
    .option('--idempotent', 'may be run again')
    .option('--capture', 'keep what it holds in memory at its end')
    .option('--trace', 'tell which functions of js or ts ran, in which zone')
    .option('--once', 'neither ask a running server nor leave one behind')
    .option('--explain', 'say why this sandbox, field by field')
    .option('--watch', 'draw on stderr how it goes while it runs')
    .option('--picture <file>', 'where to put a picture of its life, as SVG; - is stdout')
    .addHelpText('after', examples)
    .action(async (file: string, args: readonly string[], _own, command: Command) => {
      const flags = command.optsWithGlobals<RunFlags>()
      const words = wordsOf(args, flags)
      await runFile(file, words.args, { ...flags, env: words.env })
    })
}

const publicEntries = entries.filter((entry) => entry !== 'function')
const examples = `
Examples:
  mayfly run hello.js --input '{"name":"Ada"}'
  echo 'return input * 2' | mayfly run - --input 21
  mayfly run page.js --file node_modules/marked/lib/marked.esm.js=marked.js --json
  mayfly run risky.js --tier isolate --timeout 300ms --memory 32MB --explain`

/**
 * Splits words: after `--` arguments; before it further variables, as in `--env A=1 B=2`. A second file is an error.
 * Throws MayflyError USAGE.
 */
function wordsOf(words: readonly string[], { env = [] }: RunFlags) {
  const dashes = process.argv.indexOf('--')
  const behind = dashes < 0 ? 0 : process.argv.length - dashes - 1
  const ahead = words.slice(0, Math.max(0, words.length - behind))
  const stray = ahead.find((word) => env.length === 0 || !/^[A-Za-z_]\w*=/.test(word))
  if (stray === undefined) return { args: words.slice(ahead.length), env: [...env, ...ahead] }
  throw new MayflyError('USAGE', `Cannot take "${stray}": a job has one file`, {
    hint: 'Arguments of the program come behind --, as in mayfly run FILE -- a b',
  })
}

function oneOf<T extends string>(what: string, words: readonly T[]) {
  return (text: string): T => {
    if ((words as readonly string[]).includes(text)) return text as T
    throw new MayflyError(
      'USAGE',
      `Cannot use ${what} "${text}": expected one of ${words.join(', ')}`,
    )
  }
}

/** Same for an option with several values. */
function eachOf<T extends string>(what: string, words: readonly T[]) {
  const one = oneOf(what, words)
  return (text: string, before: readonly T[] = []): readonly T[] => [...before, one(text)]
}

function each(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text]
}

function number(text: string): number {
  const value = Number(text)
  if (text.trim() !== '' && Number.isFinite(value) && value > 0) return value
  throw new MayflyError('USAGE', `Cannot read "${text}": expected a number above zero`)
}
