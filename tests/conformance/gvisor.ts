import { existsSync } from 'node:fs'
import type { Language } from '../../src/contract/job.ts'
import type { WardenOptions } from '../../src/contract/warden-options.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { createGvisorProvider } from '../../src/tiers/gvisor/provider.ts'
import { mayInstallRunsc } from '../../scripts/debian-packages.ts'
import { inLanguage, makeProgramWalls, type EgressOf } from './program-walls.ts'
import type { Made } from './stand.ts'

export const noRunsc = 'runsc is missing'

/** Found as its engine finds it. With `CI=true` a machine that may install it has it: otherwise this throws. */
export function isRunscThere(): boolean {
  const isThere = findProgram('runsc') !== undefined || existsSync('/usr/local/lib/mayfly/runsc')
  if (!isThere && process.env['CI'] === 'true' && mayInstallRunsc()) throw new Error(noRunsc)
  return isThere
}

/** Walls of the gvisor tier, for one of its languages, with a warden in this process and a state folder of its own. */
export async function makeGvisor(
  options: Partial<WardenOptions>,
  language: Language,
  egressParts?: EgressOf,
): Promise<Made> {
  return inLanguage(makeProgramWalls(createGvisorProvider, options, egressParts), language)
}
