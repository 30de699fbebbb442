import { MayflyError } from '../contract/error.ts'
import { commitView } from '../warden/engines/folder/view-commit.ts'
import { shownChanges, type ShownChange } from '../warden/engines/folder/view-diff.ts'
import {
  discardView,
  listViews,
  openView,
  removeView,
  type View,
} from '../warden/engines/folder/view-store.ts'
import { sanitise, sanitiseLine } from '../output/sanitise.ts'
import type { ExecFlags } from './exec-flags.ts'
import { changesText, execConfig, folderHere } from './exec-config.ts'
import { becomeFolderOwner } from './folder-owner.ts'
import { note, printJson, table } from './print.ts'

/** `mayfly exec --diff|--commit|--discard [VIEW]` and `--views`. Throws MayflyError USAGE, NOT_FOUND, CONFLICT, STATE. */
export function actOnView(words: readonly string[], flags: ExecFlags): void {
  const acts = (['diff', 'commit', 'discard', 'views'] as const).filter(
    (name) => flags[name] !== undefined,
  )
  if (acts.length !== 1 || words.length > 0 || flags.dryRun)
    throw new MayflyError(
      'USAGE',
      'Cannot combine these options: use exactly one of --diff, --commit, --discard and --views',
      {
        hint: 'mayfly exec --diff',
      },
    )
  becomeFolderOwner(process.argv.slice(2))
  const { config } = execConfig(flags)
  const [act] = acts as [(typeof acts)[number]]
  if (act === 'views') return list(config.state, flags)
  const given = flags[act]
  const which = [config.state, folderHere(), typeof given === 'string' ? given : undefined] as const
  if (act === 'discard') return discard(discardView(...which), flags)
  const view = openView(...which)
  if (act === 'diff') return show(view, flags)
  commitView(view)
  removeView(view)
  const { id, folder, changes } = view
  if (flags.json) return printJson({ view: id, folder, committed: true, changes: changes.length })
  note(flags, `Applied ${changesText(changes.length)} in ${sanitiseLine(folder)}`)
}

function discard({ id, folder, changes }: ReturnType<typeof discardView>, flags: ExecFlags): void {
  const count = changes?.length
  if (flags.json) return printJson({ view: id, folder, discarded: true, changes: count ?? null })
  const what = count === undefined ? 'changes that cannot be listed' : changesText(count)
  note(flags, `Deleted ${id}: ${what}`)
}

function list(state: string, flags: ExecFlags): void {
  const views = listViews(state).map(({ id, folder, command, createdAt }) => ({
    view: id,
    folder,
    command,
    createdAt: new Date(createdAt).toISOString(),
  }))
  if (flags.json) return printJson({ views })
  const rows = views.map((one) => [one.view, one.createdAt, one.folder, one.command.join(' ')])
  process.stdout.write(
    views.length === 0
      ? 'No views\n'
      : `${table([['VIEW', 'MADE', 'FOLDER', 'COMMAND'], ...rows])}\n`,
  )
}

/** Prints a diff for a person or `git apply`; escape sequences are removed for a terminal. */
function show(view: View, flags: ExecFlags): void {
  const changes = shownChanges(view)
  const { id, folder, command } = view
  if (flags.json) return printJson({ view: id, folder, command, changes })
  const text = changes.map(lineOf).join('')
  process.stdout.write(process.stdout.isTTY ? sanitise(text) : text)
  note(
    flags,
    `${id}: ${changesText(changes.length)}; "mayfly exec --commit" makes them, "mayfly exec --discard" drops them`,
  )
}

function lineOf({ path, change, kind, mode, diff = '' }: ShownChange): string {
  const how = mode === undefined ? '' : `, mode ${mode}`
  return `${change} ${kind} ${JSON.stringify(path).slice(1, -1)}${how}\n${diff}`
}
