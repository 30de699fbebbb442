import module from 'node:module'
import { fileURLToPath } from 'node:url'
import { MayflyError } from '../contract/error.ts'
import { trusted, type ModuleTrust } from './find.ts'

/**
 * Resolves imports of provider modules. A file that a module imports is trusted like the module, so its owner and mode
 * are checked too. Its URL carries the generation of the module, so that a changed module reloads its imports (Node
 * caches ES modules by URL for the life of the process). The specifier `mayfly` resolves to this Mayfly, so that both
 * share one `MayflyError`.
 *
 * Relies on: `module.registerHooks` (Node 22.15), which runs in this thread for `import` and `require`.
 */
const generationKey = 'mayfly-module'
const own = new URL('../index.ts', import.meta.url).href

let trust: ModuleTrust | undefined

/** URL under which this generation of a module is loaded. */
export function moduleUrl(url: string, generation: string): string {
  return `${url}?${generationKey}=${generation}`
}

/** Installs the resolver, once per thread. Throws MayflyError PROVIDER_BROKEN if Node is too old. */
export function resolveImports(rules: ModuleTrust): void {
  const isInstalled = trust !== undefined
  trust = rules
  if (isInstalled) return
  if (typeof module.registerHooks !== 'function')
    throw new MayflyError('PROVIDER_BROKEN', 'Cannot load provider modules: this Node is too old', {
      hint: 'Use Node 22.15 or newer',
    })
  module.registerHooks({
    resolve(specifier, context, next) {
      const generation = generationOf(context.parentURL)
      if (generation === undefined) return next(specifier, context)
      if (specifier === 'mayfly') return next(own, context)
      const found = next(specifier, context)
      if (!found.url.startsWith('file:') || generationOf(found.url) !== undefined) return found
      trusted(fileURLToPath(found.url), 'file', trust!)
      return { ...found, url: moduleUrl(found.url, generation) }
    },
  })
}

function generationOf(url: string | undefined): string | undefined {
  if (!url?.startsWith('file:') || !url.includes(generationKey)) return undefined
  return new URL(url).searchParams.get(generationKey) ?? undefined
}
