import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { Seeded } from './seeded.ts'

export interface FuzzedProgram {
  /** Sources in C. */
  readonly units: readonly string[]
  readonly lives: number
  /** Starts the program, writes what `random` draws, and throws on a forbidden end. */
  readonly live: (file: string, random: Seeded) => Promise<void>
}

/** Many lives of one program of ours, each with its own seed, named on failure: MAYFLY_SEED tries it first. */
export async function fuzzLives(
  t: TestContext,
  { units, lives, live }: FuzzedProgram,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-fuzz-'))
  // Some lives are those of an ordinary user.
  chmodSync(folder, 0o755)
  try {
    const file = compileSanitized(units, join(folder, 'program'))
    const first = Number(process.env['MAYFLY_SEED'] ?? Date.now() % 2 ** 31) >>> 0
    t.diagnostic(`MAYFLY_SEED=${first}, ${lives} lives`)
    for (let seed = first; seed < first + lives; seed++) {
      try {
        await live(file, new Seeded(seed))
      } catch (cause) {
        throw new Error(`A case failed; try it again with MAYFLY_SEED=${seed}`, { cause })
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** With the compiler's sanitizers where it has them: a finding ends the program with a report. */
function compileSanitized(units: readonly string[], file: string): string {
  const watched = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all']
  for (const flags of [watched, []]) {
    const { status } = spawnSync('cc', ['-std=gnu11', '-O1', '-g', ...flags, '-o', file, ...units])
    if (status === 0) return file
  }
  throw new Error('The compiler refused the program')
}
