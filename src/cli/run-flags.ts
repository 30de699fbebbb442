import type { askable, Entry, Language } from '../contract/job.ts'
import type { TierName } from '../contract/tier.ts'
import type { Globals } from './print.ts'

/** Flags of `mayfly run`, as its command line gives them. */
export interface RunFlags extends Globals {
  readonly language?: Language
  readonly entry?: Entry
  readonly tier?: TierName
  readonly floor?: TierName
  readonly shadow?: TierName
  readonly provider?: string
  readonly input?: string
  readonly batch?: string
  readonly file?: readonly string[]
  readonly fileSecrets?: boolean
  readonly image?: string
  readonly packages?: readonly string[] | false
  readonly signature?: readonly string[]
  readonly schedule?: string
  readonly timeout?: string
  readonly cpuTime?: string
  readonly memory?: string
  readonly cpu?: number
  readonly disk?: string
  readonly output?: string
  readonly artifactsMax?: string
  readonly processes?: number
  readonly instructions?: number
  readonly env?: readonly string[]
  readonly passExitCode?: boolean
  readonly stdin?: boolean
  readonly allow?: readonly string[]
  readonly capability?: readonly (typeof askable)[number][]
  readonly outputSchema?: string
  readonly artifacts?: string
  readonly idempotent?: boolean
  readonly capture?: boolean
  readonly trace?: boolean
  readonly once?: boolean
  readonly explain?: boolean
  readonly watch?: boolean
  readonly picture?: string
}
