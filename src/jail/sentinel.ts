import { fileURLToPath } from 'node:url'
import { cFiles, openCProgram, type CProgramSource, type CProgramLookup } from './c-program.ts'

const SOURCES = fileURLToPath(new URL('../../guest/sentinel', import.meta.url))
/** Steps of a jail, which a keeper performs. */
const STEPS = ['steps.c', 'steps.h'].map((name) =>
  fileURLToPath(new URL(`../../guest/launcher/${name}`, import.meta.url)),
)

/** The sentinel's program; `sources` and `folder` are for tests. */
export function openSentinel(
  options: Partial<Omit<CProgramSource, 'name'>> = {},
): Promise<CProgramLookup> {
  return openCProgram({ name: 'sentinel', sources: sentinelSources(), ...options })
}

/** Paths of all its source files, including headers. */
export function sentinelSources(): readonly string[] {
  return [...cFiles(SOURCES), ...STEPS]
}
