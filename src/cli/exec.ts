import type { Command } from 'commander'
import { MayflyError } from '../contract/error.ts'
import type { ExecFlags } from './exec-flags.ts'

/** `mayfly exec -- COMMAND`: a command in this folder, as coding agents run it. */
export function register(program: Command): void {
  program
    .command('exec')
    .description('run a command in this folder, behind a process wall')
    .argument('[command...]', 'behind --: the command and its arguments')
    .option('--write <path...>', 'files and folders that it may change too')
    .option('--read <path...>', 'files and folders that it may read too')
    .option('--deny <path...>', 'paths that it may neither read nor change')
    .option('--allow <host...>', 'hosts it may reach')
    .option(
      '--env <variable...>',
      'NAME=VALUE for its environment; NAME passes on one that is left out',
    )
    .option('--settings <file>', 'settings of sandbox-runtime, as they stand')
    .option('--timeout <time>', 'such as 30s; without it there is no limit')
    .option('--dry-run', 'leave the folder as it is, and keep what changes as a view')
    .option('--diff [view]', 'show what a view changes, the newest one of this folder')
    .option('--commit [view]', 'make its changes in the folder, all or none')
    .option('--discard [view]', 'drop it')
    .option('--views', 'list the views of all folders')
    .addHelpText('after', examples)
    .action(async (words: readonly string[], _own, command: Command) => {
      const flags = command.optsWithGlobals<ExecFlags>()
      if (isOfView(flags)) {
        const { actOnView } = await import('./exec-views.ts')
        return actOnView(words, flags)
      }
      const { runExec } = await import('./exec-run.ts')
      await runExec(commandOf(words), flags)
    })
}

const isOfView = ({ diff, commit, discard, views }: ExecFlags) =>
  Boolean(diff ?? commit ?? discard ?? views)

const examples = `
The folder and what is below it can be read and written; the rest of HOME is hidden, /usr and /etc are read-only, there is
no network and no time limit. Hooks and configuration of git, start-up files of shells, settings of editors and agents
cannot be changed, and .env files and keys cannot be read, by whichever name.

Exits as the command does; 126 where nothing here can hold it, 4 at --timeout, 5 at the limit of memory.

Examples:
  mayfly exec -- npm test
  mayfly exec --allow packages.example -- npm ci
  mayfly exec --write ../shared --read ~/datasets --timeout 10m -- make
  mayfly exec --settings ~/.srt-settings.json -- pytest -x
  mayfly exec --dry-run -- npm run format && mayfly exec --diff && mayfly exec --commit`

/** The words behind `--`. Throws MayflyError USAGE. */
function commandOf(words: readonly string[]): readonly string[] {
  const dashes = process.argv.indexOf('--')
  const command = dashes < 0 ? [] : process.argv.slice(dashes + 1)
  const stray = words.slice(0, words.length - command.length)[0]
  if (stray === undefined && command.length > 0) return command
  const what = stray === undefined ? 'no command' : `"${stray}"`
  throw new MayflyError('USAGE', `Cannot run ${what}: a command stands behind --`, {
    hint: 'mayfly exec [flags] -- npm test',
  })
}
