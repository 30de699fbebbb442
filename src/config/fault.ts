import type { KeyPath } from './positions.ts'

/** A fault at a path of the configuration. */
export interface Fault {
  readonly path: KeyPath
  readonly message: string
}
