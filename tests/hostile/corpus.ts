import type { Case, Family } from './case.ts'
import { escape } from './cases/escape.ts'
import { memory } from './cases/memory.ts'
import { output } from './cases/output.ts'
import { parser } from './cases/parser.ts'
import { reach } from './cases/reach.ts'
import { result } from './cases/result.ts'
import { state } from './cases/state.ts'
import { tenants } from './cases/tenants.ts'
import { time } from './cases/time.ts'

/** Every case, family by family. */
export const corpus: Readonly<Record<Family, readonly Case[]>> = {
  escape,
  reach,
  time,
  memory,
  result,
  state,
  tenants,
  parser,
  output,
}

export const allCases: readonly Case[] = Object.values(corpus).flat()
