import { realpathSync } from 'node:fs'
import { loadConfig, type LoadedConfig } from '../config/load.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import { sanitiseLine } from '../output/sanitise.ts'
import { note, type Globals } from './print.ts'

/** Loads the configuration without reporting its files, because stderr belongs to the command. Throws MayflyError CONFIG. */
export function execConfig(flags: Globals): Pick<LoadedConfig, 'config' | 'files'> {
  const { config, files, warnings } = loadConfig({
    file: flags.config,
    env: process.env,
    flags: { '--state': flags.state },
    cwd: process.cwd(),
  })
  for (const warning of warnings) note(flags, `Warning: ${sanitiseLine(warning)}`)
  return { config, files }
}

/** Real path of the current folder. Throws MayflyError USAGE if it was removed. */
export function folderHere(): string {
  try {
    return realpathSync(process.cwd())
  } catch (cause) {
    throw new MayflyError('USAGE', `Cannot resolve the current folder: ${messageOf(cause)}`, {
      cause,
    })
  }
}

export const changesText = (count: number): string =>
  `${count} ${count === 1 ? 'change' : 'changes'}`
