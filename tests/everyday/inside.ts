import { randomUUID } from 'node:crypto'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Outcome } from '../../src/contract/outcome.ts'
import { documentOf, mayfly, type Place } from '../doors/program.ts'
import { mainOf, type Program } from './corpus.ts'
import { createdIn, type Ended } from './outside.ts'

/** Enough on a busy machine; all else is the default. */
const timeout = '60s'

/** Artifacts below `out/` have their paths from there, as docs/job.md says. */
const artifactOf = (name: string) => name.replace(/^out\//, '')

export interface EndedInside extends Ended {
  readonly outcome: Outcome
  /** For a broken program: output of the command without `--json`. */
  readonly printed: string
}

/** Runs a program with `mayfly run`, in its own folder, with the files there. */
export async function runInside(
  place: Place,
  program: Program,
  flags: readonly string[] = [],
): Promise<EndedInside> {
  const artifacts = join(place.cwd, `artifacts-${randomUUID()}`)
  try {
    const { file, args } = mainOf(program)
    const env = Object.entries(program.env).flatMap(([name, value]) => [
      '--env',
      `${name}=${value}`,
    ])
    const given = [...env, '--timeout', timeout, '--artifacts', artifacts, ...flags]
    const run = (...asked: readonly string[]) =>
      mayfly(
        { ...place, cwd: program.folder },
        ['run', file, '--file', '.', ...asked, ...given, '--', ...args],
        { ...(program.stdin !== undefined && { stdin: program.stdin }) },
      )
    const ran = await run('--json')
    const outcome = documentOf(ran) as unknown as Outcome
    if (outcome.status === undefined) throw new Error(JSON.stringify(outcome))
    const { stdout, stderr, exitCode } = outcome as Outcome & { readonly exitCode: number | null }
    const told = program.mentions.length > 0 ? await run() : ran
    const printed = `${told.stdout}\n${told.stderr}`
    return {
      outcome,
      printed,
      stdout,
      stderr,
      exitCode,
      created: createdIn(artifacts, program, artifactOf),
    }
  } finally {
    rmSync(artifacts, { recursive: true, force: true })
  }
}
