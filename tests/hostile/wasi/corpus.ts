import type { WasiCase, WasiFamily } from './case.ts'
import { descriptors } from './cases/descriptors.ts'
import { oddSignatures, pointers, random, vectors } from './cases/memory-calls.ts'
import { paths } from './cases/paths.ts'
import { clocks, exits, floods, memory, stack, waits } from './cases/time-and-space.ts'

/** Every case, family by family. */
export const wasiCorpus: Readonly<Record<WasiFamily, readonly WasiCase[]>> = {
  paths,
  descriptors,
  vectors,
  pointers,
  signatures: oddSignatures,
  memory,
  waits,
  random,
  clocks,
  exits,
  stack,
  floods,
}

export const wasiCases: readonly WasiCase[] = Object.values(wasiCorpus).flat()
