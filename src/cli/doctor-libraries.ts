import type { Provider, TaskEnd } from '../contract/provider.ts'
import { sanitise } from '../output/sanitise.ts'
import { ofPrograms, runGuest } from '../walls/trials/try-walls.ts'

/** Python libraries that programs need most. */
const libraries = ['numpy', 'pandas', 'matplotlib.pyplot'] as const
/** Generous timeout, because the first import from a cold disk is slow. */
const IMPORT_MS = 30_000

/**
 * Tries to import the libraries behind this wall: their versions, or the error. Undefined if the wall runs no
 * Python.
 */
export async function tryLibraries(
  provider: Provider,
): Promise<Readonly<Record<string, string>> | undefined> {
  if (provider.tier !== 'process' || !provider.languages.includes('python')) return undefined
  const found: Record<string, string> = {}
  for (const module of libraries) {
    const [name = module] = module.split('.')
    const code = `import importlib, sys\nimportlib.import_module("${module}")\nresult = sys.modules["${name}"].__version__`
    const guest = { language: 'python', entry: 'auto', code, bait: {} } as const
    const limits = { ...ofPrograms, timeout: IMPORT_MS }
    const { status, resultText, error } = await runGuest(provider, guest, limits)
    found[name] =
      status === 'ok' ? (/^"([\w.+-]{1,40})"$/.exec(resultText)?.[1] ?? 'unknown') : missing(error)
  }
  return found
}

function missing(error: TaskEnd['error']): string {
  return sanitise(`does not load: ${(error?.message ?? 'no reason reported').slice(0, 200)}`)
}
