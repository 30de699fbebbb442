import type { Command } from 'commander'
import { printJson, note, table, printText, type Globals } from './print.ts'
import { sanitiseLine } from '../output/sanitise.ts'
import { failedExitCode, verb } from './verb.ts'

/** `mayfly state backup|restore|check`: the state folder as a whole, while a server uses it or without one. */
export function register(program: Command): void {
  const state = program
    .command('state')
    .description('back up, restore and check the state folder')
    .addHelpText(
      'after',
      `
A backup has the record, API keys, trusted signers, baselines, effects, stored executions and webhooks. It has no outcomes and
captures, which Mayfly deletes after a day, and no caches and images. The key that signs the record goes to a file of its own.

Examples:
  mayfly state backup mayfly.tar --keys mayfly.key
  mayfly state check
  mayfly state restore mayfly.tar --keys mayfly.key`,
    )
  state
    .command('backup')
    .description('write a consistent copy to a tar archive, also while a server runs')
    .argument('<file>', 'archive to write')
    .option('--keys <file>', 'write the key that signs the record to this file')
    .action(verb(backup))
  state
    .command('restore')
    .description('fill a missing or empty state folder from a backup, once all of it is checked')
    .argument('<file>', 'archive that "state backup" wrote')
    .option('--keys <file>', 'the key file of that backup')
    .option(
      '--new-record',
      'begin a new record, without the key; the old one stays as former-audit.db',
    )
    .action(verb(restore))
  state
    .command('check')
    .description('check each store and the record; exits 0 or 1')
    .action(verb(check))
}

interface Flags extends Globals {
  readonly keys?: string
  readonly newRecord?: boolean
}

async function backup(flags: Flags, file: string): Promise<void> {
  const { backUp } = await import('./state-backup.ts')
  const made = await backUp(flags, file)
  if (made) await report(made, flags)
}

async function restore(flags: Flags, file: string): Promise<void> {
  const { restoreState } = await import('./state-restore.ts')
  await report(await restoreState(flags, file), flags)
}

async function check(flags: Flags): Promise<void> {
  const { checkState } = await import('./state-check.ts')
  const found = await checkState(flags)
  if (!found) return
  if (!found.ok) process.exitCode = failedExitCode
  if (flags.json) return printJson(found)
  const rows = found.stores.map(({ file, about, bytes, why }) => [file, about, `${bytes}`, why])
  printText(table([['store', 'what', 'bytes', 'state'], ...rows]))
}

async function report(done: Readonly<Record<string, unknown>>, flags: Flags): Promise<void> {
  if (flags.json) return printJson(done)
  for (const [name, value] of Object.entries(done))
    note(flags, `${name}: ${sanitiseLine(String(value))}`)
}
