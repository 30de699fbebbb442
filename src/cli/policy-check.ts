import { resolve } from 'node:path'
import { providerNames } from '../assemble/providers.ts'
import { issueAt, type LoadedConfig } from '../config/load.ts'
import type { Issue } from '../config/parse.ts'
import type { KeyPath } from '../config/positions.ts'
import { nearHint } from '../config/variables.ts'
import { messageOf } from '../contract/error.ts'
import { readSecretFile } from '../telemetry/webhooks/secret-file.ts'

/** Findings beyond the text of the configuration, by the files and providers that it names. */
export interface NamedThings {
  readonly issues: readonly Issue[]
  readonly warnings: readonly string[]
}

export function checkNamedThings(loaded: LoadedConfig, cwd: string): NamedThings {
  const secrets = loaded.config.webhooks.flatMap(({ secret_file: file }, index) => {
    const thrown = failureOf(() => readSecretFile(resolve(cwd, file)))
    if (thrown === undefined) return []
    const path = ['webhooks', index, 'secret_file']
    const issue = issueAt(loaded.originOf(path), path, messageOf(thrown))
    return [{ issue, isClosed: (thrown as NodeJS.ErrnoException).code === 'EACCES' }]
  })
  // A file that this user may not read can be one that the server may.
  const [closed, wrong] = [true, false].map((is) =>
    secrets.filter(({ isClosed }) => isClosed === is).map(({ issue }) => issue),
  ) as [Issue[], Issue[]]
  return {
    issues: wrong,
    warnings: [...closed, ...unknownProviders(loaded)].map(
      ({ where, message }) => `${where}: ${message}`,
    ),
  }
}

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

function failureOf(work: () => unknown): unknown {
  try {
    work()
    return undefined
  } catch (thrown) {
    return thrown
  }
}
