import type { EngineOptions } from './engine.ts'

export interface WardenOptions extends EngineOptions {
  /** Holds leases and the key. A promise where the first walls are started before it is known; none is handed out until then. */
  readonly stateFolder: string | Promise<string>
  /** For tests: bytes that walls may hold together, in place of this machine's. */
  readonly memoryBytes?: number
}
