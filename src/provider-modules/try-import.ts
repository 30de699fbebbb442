import { fileURLToPath } from 'node:url'
import { parentPort, workerData } from 'node:worker_threads'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { ModuleTrust } from './find.ts'
import { resolveImports } from './resolve-imports.ts'

/** Thread that imports a provider module on trial, and reports how that went. */
export interface ImportTrial {
  readonly url: string
  readonly trust: ModuleTrust
}

/** Error as it crosses the threads, which strip it of its class. */
export interface ImportFault {
  readonly code: string | undefined
  readonly message: string
  readonly hint: string | undefined
}

const { url, trust } = workerData as ImportTrial
// Without a reason to live, Node would end a thread whose import never resolves, with a warning on stderr.
setInterval(() => undefined, 1_000)
parentPort?.postMessage(await tryImport())

async function tryImport(): Promise<ImportFault | 'imported'> {
  try {
    resolveImports(trust)
    await import(url)
    // A turn of the loop, so that a throw in a callback counts too.
    await new Promise((resolve) => void setImmediate(resolve))
    return 'imported'
  } catch (thrown) {
    const { code, hint } = thrown instanceof MayflyError ? thrown : {}
    const check = `"node --check ${fileURLToPath(url)}" shows the line`
    const isSyntax = thrown instanceof SyntaxError
    return { code, hint: isSyntax ? check : hint, message: messageOf(thrown) }
  }
}
