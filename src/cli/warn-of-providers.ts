import type { LoadedConfig } from '../config/load.ts'
import { sanitiseLine } from '../output/sanitise.ts'
import { note, type Globals } from './print.ts'

/** Warns of names of the configuration that no built-in provider has, as `policy check` does. */
export async function warnOfProviders(loaded: LoadedConfig, flags: Globals): Promise<void> {
  const { default_provider: preferred, spares } = loaded.config
  if (preferred === 'auto' && spares.length === 0) return
  const { unknownProviders } = await import('./unknown-providers.ts')
  for (const { where, message } of unknownProviders(loaded))
    note(flags, sanitiseLine(`Warning: ${where}: ${message}`))
}
