import { readFile } from 'node:fs/promises'
import { pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { ProviderModule } from '../contract/provider-module.ts'
import { sha256 as hashOf } from '../lib/hash.ts'
import { boundedCall, type ModuleBounds } from './bounded.ts'
import { cannotUse, type ModuleFile, type ModuleTrust } from './find.ts'
import { checkModule } from './check.ts'
import { moduleUrl, resolveImports } from './resolve-imports.ts'
import type { ImportFault, ImportTrial } from './try-import.ts'

export interface LoadedModule {
  readonly made: ProviderModule
  /** Hash of the file alone, without its imports. */
  readonly sha256: string
}

const trialHeapMiB = 256
const hint = 'Correct the module; it is loaded again when its file changes'

/**
 * Loads a module into this process, after a trial import in a separate thread: a module that loops, never resolves,
 * exits or throws from a callback during its import does so there, without harm to the server. Top-level code of a
 * module therefore runs twice. Throws MayflyError PROVIDER_BROKEN.
 */
export async function loadModule(
  { path, real }: ModuleFile,
  trust: ModuleTrust,
  { generation, importMsMax }: Pick<ModuleBounds, 'importMsMax'> & { readonly generation: string },
): Promise<LoadedModule> {
  try {
    resolveImports(trust)
    const sha256 = hashOf(await readFile(real))
    const url = moduleUrl(pathToFileURL(real).href, generation)
    await importOnTrial({ url, trust }, importMsMax)
    const loaded = (await boundedCall(import(url), importMsMax, 'its import')) as {
      default?: unknown
    }
    return { made: checkModule(loaded.default), sha256 }
  } catch (cause) {
    throw brokenModule(path, cause)
  }
}

/** Converts a fault of a module to the listed error; a hint of its own is kept. */
export function brokenModule(path: string, cause: unknown): MayflyError {
  if (cause instanceof MayflyError && cause.message.startsWith(cannotUse(path))) return cause
  const own = cause instanceof MayflyError ? cause : undefined
  const code = own?.code.startsWith('PROVIDER_') ? own.code : 'PROVIDER_BROKEN'
  return new MayflyError(code, `${cannotUse(path)}: ${firstLine(messageOf(cause))}`, {
    hint: own?.hint ?? hint,
    details: { file: path },
    cause,
  })
}

async function importOnTrial(trial: ImportTrial, msMax: number): Promise<void> {
  const thread = new Worker(new URL('./try-import.ts', import.meta.url), {
    workerData: trial,
    stdout: true,
    stderr: true,
    resourceLimits: { maxOldGenerationSizeMb: trialHeapMiB },
  })
  const done = Promise.withResolvers<void>()
  thread.once('message', (answer: ImportFault | 'imported') =>
    answer === 'imported' ? done.resolve() : done.reject(faultOf(answer)),
  )
  thread.once('error', (error) => done.reject(error))
  thread.once('exit', () => done.reject(new Error('it ended the process that imports it')))
  try {
    await boundedCall(done.promise, msMax, 'its import')
  } finally {
    await thread.terminate()
  }
}

function faultOf({ code, message, hint: own }: ImportFault): Error {
  const known = code === 'PROVIDER_UNTRUSTED' ? code : 'PROVIDER_BROKEN'
  return new MayflyError(known, message, { hint: own ?? hint })
}

function firstLine(text: string): string {
  return text.split('\n')[0]!.slice(0, 500)
}
