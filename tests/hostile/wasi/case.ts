import type { Bait, End } from '../case.ts'

/** A hostile WebAssembly module as data. Evidence of an escape is that of the trap, or another result than `gives`. */
export interface WasiCase {
  readonly name: string
  readonly family: WasiFamily
  /** The attack: its mechanism. */
  readonly because: string
  readonly module: (bait: Bait) => Buffer
  readonly entry?: 'function' | 'program'
  readonly expect: readonly End[]
  /** Result if it ends `ok`. */
  readonly gives?: unknown
}

export type WasiFamily = (typeof wasiFamilies)[number]
export const wasiFamilies = [
  'paths',
  'descriptors',
  'vectors',
  'pointers',
  'signatures',
  'memory',
  'waits',
  'random',
  'clocks',
  'exits',
  'stack',
  'floods',
] as const
