import { providerNames } from '../assemble/providers.ts'
import { issueAt, type LoadedConfig } from '../config/load.ts'
import type { Issue } from '../config/parse.ts'
import type { KeyPath } from '../config/positions.ts'
import { nearHint } from '../config/variables.ts'

/** Names that no built-in provider has. One of a provider module is known only once that is run. */
export function unknownProviders(loaded: LoadedConfig): readonly Issue[] {
  const { default_provider: preferred, spares, providers } = loaded.config
  const hasModules = providers.folder !== undefined || providers.modules.length > 0
  const named: readonly { readonly name: string; readonly path: KeyPath }[] = [
    ...(preferred === 'auto' ? [] : [{ name: preferred, path: ['default_provider'] }]),
    ...spares.map(({ provider }, index) => ({
      name: provider,
      path: ['spares', index, 'provider'],
    })),
  ]
  return named.flatMap(({ name, path }) => {
    if (providerNames.some((known) => known === name)) return []
    const hint = nearHint(name, providerNames)
    if (hasModules && hint === '') return []
    const message = `no built-in provider has the name "${name}"${hint || ';'} There are ${providerNames.join(', ')}`
    return [issueAt(loaded.originOf(path), path, message)]
  })
}
