import type { Command } from 'commander'
import { MayflyError } from '../contract/error.ts'
import { entries, askable, languages } from '../contract/job.ts'
import { namedTiers } from '../contract/tier.ts'
import { programArguments } from '../lib/last-flag.ts'
import { parseLanguage, parseWord } from './option-values.ts'
import type { RunFlags } from './run-flags.ts'
import { runFile } from './run-file.ts'

export function register(program: Command): void {
  program
    .command('run')
    .description('run one job on this machine')
    .argument('<file>', 'the program; - reads stdin')
    .argument('[args...]', 'arguments of the program, after --')
    .option('--language <name>', `one of ${languages.join(' ')}`, parseLanguage)
    .option('--entry <kind>', `one of ${publicEntries.join(' ')}`, oneEntry)
    .option('--tier <tier>', 'exactly this tier', parseWord('tier', namedTiers))
    .option('--floor <tier>', 'at least this tier', parseWord('floor', namedTiers))
    .option(
      '--shadow <tier>',
      'run the job on that tier too, and compare the outcomes',
      parseWord('shadow', namedTiers),
    )
    .option('--provider <name>', 'exactly this provider')
    .option(
      '--image <name>',
      'tag or digest of an image that is the root file system of the program',
    )
    .option('--input <json>', 'input of the job: JSON, or @FILE')
    .option('--batch <json>', 'JSON list of inputs, or @FILE: one call per input, in one sandbox')
    .option('--file <path...>', 'a file or folder of the job: PATH, or PATH=NAME INSIDE')
    .option('--file-secrets', 'include .env, .git, keys and similar files of folders')
    .option(
      '--packages <folder...>',
      'a project, node_modules, virtual environment or folder of wheels, read-only',
    )
    .option('--no-packages', "do not mount the program's node_modules")
    .option('--env <variable>', "NAME=VALUE sets a variable; NAME passes on Mayfly's own", each)
    .option('--stdin', 'read standard input to its end, without a timeout')
    .option('--signature <file...>', 'output of "mayfly keys sign"')
    .option('--schedule <name>', 'name of a schedule of the configuration')
    .option('--timeout <time>', 'time limit, such as 500ms or 5s')
    .option('--memory <size>', 'memory limit, such as 64MB')
    .option('--cpu <cores>', 'CPU limit in cores, such as 0.5', number('--cpu'))
    .option('--cpu-time <time>', 'limit of processor time, all processes together, such as 2s')
    .option('--disk <size>', "limit of the job's files and those it writes, such as 64MB")
    .option('--output <size>', 'limit of stdout and of stderr each, such as 1MB')
    .option('--artifacts-max <size>', 'limit of all artifacts together, such as 16MB')
    .option('--processes <count>', 'limit of processes and threads', number('--processes'))
    .option(
      '--instructions <count>',
      'limit of instructions of a WebAssembly module',
      number('--instructions'),
    )
    .option('--allow <host...>', 'hosts that the job may reach')
    .option(
      '--capability <name...>',
      `one or more of ${askable.join(' ')}`,
      eachOf('capability', askable),
    )
    .option('--output-schema <file>', 'a JSON Schema that the result must match')
    .option('--artifacts <folder>', 'output folder for files that the job makes')
    .option('--pass-exit-code', 'exit with the exit code of the program, if it exited by itself')
    .option('--idempotent', 'allow a retry of the job')
    .option('--capture', 'store its memory at the end, as evidence')
    .option('--trace', 'report which functions of js or ts ran, and in which zone')
    .option('--once', 'neither use a running server nor leave one behind')
    .option('--explain', 'explain the choice of sandbox, field by field')
    .option('--watch', 'draw progress on stderr while the job runs')
    .option('--picture <file>', 'write a picture of the run as SVG; - writes to stdout')
    .addHelpText('after', examples)
    .action(async (file: string, args: readonly string[], _own, command: Command) => {
      const flags = command.optsWithGlobals<RunFlags>()
      const words = wordsOf(args, flags)
      await runFile(file, words.args, { ...flags, env: words.env })
    })
}

const publicEntries = entries.filter((entry) => entry !== 'function')
const oneEntry = parseWord('entry', publicEntries)
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
  const behind = programArguments(process.argv).length
  const ahead = words.slice(0, Math.max(0, words.length - behind))
  const stray = ahead.find((word) => env.length === 0 || !/^[A-Za-z_]\w*=/.test(word))
  if (stray === undefined) return { args: words.slice(ahead.length), env: [...env, ...ahead] }
  throw new MayflyError('USAGE', `Cannot use "${stray}": a job has one program file`, {
    hint: 'Give arguments of the program after "--": mayfly run FILE -- a b',
  })
}

/** Parser of an option with several values, each one of `words`. */
function eachOf<T extends string>(what: string, words: readonly T[]) {
  const one = parseWord(what, words)
  return (text: string, before: readonly T[] = []): readonly T[] => [...before, one(text)]
}

function each(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text]
}

const number =
  (flag: string) =>
  (text: string): number => {
    const value = Number(text)
    if (text.trim() !== '' && Number.isFinite(value) && value > 0) return value
    throw new MayflyError('USAGE', `Cannot read "${flag} ${text}": expected a number above zero`)
  }
