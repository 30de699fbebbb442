import { realpathSync } from 'node:fs'
import { loadConfig } from '../config/load.ts'
import type { Config } from '../contract/config.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import { note, type Globals } from './print.ts'

/** Configuration in force; its files are not told, since stderr is the command's. Throws MayflyError CONFIG. */
export function execConfig(flags: Globals): Config {
  const { config, warnings } = loadConfig({
    file: flags.config,
    env: process.env,
    flags: { '--state': flags.state },
    cwd: process.cwd(),
  })
  for (const warning of warnings) note(flags, `Warning: ${warning}`)
  return config
}

/** The folder by its own name, whatever link led to it. Throws MayflyError USAGE where it is gone. */
export function folderHere(): string {
  try {
    return realpathSync(process.cwd())
  } catch (cause) {
    throw new MayflyError('USAGE', `Cannot find this folder: ${messageOf(cause)}`, { cause })
  }
}

export const countOf = (count: number): string => `${count} ${count === 1 ? 'change' : 'changes'}`
