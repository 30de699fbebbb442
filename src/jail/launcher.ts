import { fileURLToPath } from 'node:url'
import { cacheFolder, openSentinel, type FoundSentinel } from './sentinel.ts'

const SOURCES = fileURLToPath(new URL('../../guest/launcher', import.meta.url))

/**
 * The launcher, made and kept like the sentinel: by this machine's compiler, in a folder of this user's alone, and run
 * from the descriptor that was checked. Without a compiler walls are started by the programs of the system.
 */
export async function openLauncher(hide: readonly string[] = []): Promise<FoundSentinel> {
  if (hide.includes('launcher')) return { missing: 'it is hidden' }
  try {
    return await openSentinel({ folder: cacheFolder('launcher'), hide, sources: SOURCES })
  } catch (error) {
    return { missing: error instanceof Error ? error.message : String(error) }
  }
}
