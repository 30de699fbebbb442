import { fileURLToPath } from 'node:url'
import { parentPort, workerData } from 'node:worker_threads'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { ModuleTrust } from './find.ts'
import { resolveImports } from './resolve-imports.ts'

/** Worker thread that imports a provider module on trial and reports the result. */
export interface ImportTrial {
  readonly url: string
  readonly trust: ModuleTrust
}

/** Error in a form that survives structured cloning, which drops its class. */
export interface ImportFault {
  readonly code: string | undefined
  readonly message: string
  readonly hint: string | undefined
}

const { url, trust } = workerData as ImportTrial
// Keeps the thread alive: Node would end it with a warning on stderr if the import never resolves.
setInterval(() => undefined, 1_000)
void tryImport().then((result) => parentPort?.postMessage(result))

async function tryImport(): Promise<ImportFault | 'imported'> {
  try {
    resolveImports(trust)
    await import(url)
    // Waits one turn of the event loop, so that a throw from a callback is reported too.
    await new Promise((resolve) => void setImmediate(resolve))
    return 'imported'
  } catch (thrown) {
    const { code, hint } = thrown instanceof MayflyError ? thrown : {}
    const check = `"node --check ${fileURLToPath(url)}" shows the line`
    const isSyntax = thrown instanceof SyntaxError
    return { code, hint: isSyntax ? check : hint, message: messageOf(thrown) }
  }
}
