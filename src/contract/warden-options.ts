import type { EngineOptions } from './engine.ts'

export interface WardenOptions extends EngineOptions {
  /**
   * Folder of leases and of the signing key. May be a promise: the first walls are started before it is known, and none is
   * handed to the server until it resolves.
   */
  readonly stateFolder: string | Promise<string>
  /** For tests: memory limit of all walls together, in bytes, in place of the memory of this machine. */
  readonly memoryBytes?: number
}
