import type { Command } from 'commander'
import { MayflyError } from '../contract/error.ts'
import { programArguments } from '../lib/last-flag.ts'
import type { ExecFlags } from './exec-flags.ts'
import { verb } from './verb.ts'

/** `mayfly exec -- COMMAND`: a command in this folder, as coding agents run it. */
export function register(program: Command): void {
  program
    .command('exec')
    .description('run a command in this folder, behind a process wall')
    .argument('[command...]', 'the command and its arguments, after --')
    .option('--write <path...>', 'additional files and folders that it may change')
    .option('--read <path...>', 'additional files and folders that it may read')
    .option('--deny <path...>', 'paths that it may neither read nor change')
    .option('--allow <host...>', 'hosts it may reach')
    .option(
      '--env <variable...>',
      'NAME=VALUE sets a variable; NAME passes on a variable that is hidden by default',
    )
    .option('--settings <file>', 'settings file of sandbox-runtime')
    .option('--timeout <time>', 'time limit, such as 30s; default: none')
    .option('--dry-run', 'keep changes as a view, and leave the folder unchanged')
    .option('--diff [view]', 'show the changes of a view; default: the newest view of this folder')
    .option('--commit [view]', 'apply the changes of a view to the folder, all or none')
    .option('--discard [view]', 'delete a view')
    .option('--views', 'list the views of all folders')
    .addHelpText('after', examples)
    .action(async (words: readonly string[], _own, command: Command) => {
      const flags = command.optsWithGlobals<ExecFlags>()
      if (isOfView(flags)) {
        const { actOnView } = await import('./exec-views.ts')
        return await verb(async () => actOnView(words, flags))(command)
      }
      const { runExec } = await import('./exec-run.ts')
      await runExec(commandOf(words), flags)
    })
}

const isOfView = ({ diff, commit, discard, views }: ExecFlags) =>
  [diff, commit, discard, views].some((one) => one !== undefined)

const examples = `
The folder and its subfolders can be read and written; the rest of HOME is hidden, /usr and /etc are read-only, there is
no network and no time limit. Hooks and configuration of git, start-up files of shells, settings of editors and agents
cannot be changed, and .env files and keys cannot be read, by any path.

Exits with the exit code of the command; 126 if no wall here can run it, 4 at --timeout, 5 at the memory limit. Commands about views exit with 1 if
they fail.

Examples:
  mayfly exec -- npm test
  mayfly exec --allow packages.example -- npm ci
  mayfly exec --write ../shared --read ~/datasets --timeout 10m -- make
  mayfly exec --settings ~/.srt-settings.json -- pytest -x
  mayfly exec --dry-run -- npm run format && mayfly exec --diff && mayfly exec --commit`

/** Arguments after `--`. Throws MayflyError USAGE. */
function commandOf(words: readonly string[]): readonly string[] {
  const command = programArguments(process.argv)
  const stray = words.slice(0, words.length - command.length)[0]
  if (stray === undefined && command.length > 0) return command
  const given = stray === undefined ? 'no command' : `"${stray}"`
  throw new MayflyError('USAGE', `Cannot run ${given}: expected the command after "--"`, {
    hint: 'mayfly exec [flags] -- npm test',
  })
}
