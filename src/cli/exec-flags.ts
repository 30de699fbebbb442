import type { Globals } from './print.ts'

export interface ExecFlags extends Globals {
  readonly write?: readonly string[]
  readonly read?: readonly string[]
  readonly deny?: readonly string[]
  readonly allow?: readonly string[]
  readonly env?: readonly string[]
  readonly settings?: string
  readonly timeout?: string
  readonly dryRun?: boolean
  readonly diff?: boolean | string
  readonly commit?: boolean | string
  readonly discard?: boolean | string
  readonly views?: boolean
}
