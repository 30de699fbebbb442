import { MayflyError } from '../../../contract/error.ts'
import type { EnclosureSpec } from '../../../contract/engine.ts'
import type { WholeProgram } from '../../../jail/whole.ts'

/** A program with all that is decided about it: its runner and the settings of its wall. */
export interface RunscProgram {
  readonly main: string
  readonly whole: WholeProgram
}

const DISK_BYTES = 64 * 2 ** 20

/** Composes the program by its launcher, which is loaded with the first wall. */
export async function programFor(spec: EnclosureSpec): Promise<RunscProgram> {
  const { nodeGuest, pythonGuest } = await import('../../../tiers/gvisor/launch.ts')
  const settings = { scratchBytes: spec.disk ?? DISK_BYTES, isWarm: spec.spares > 0 }
  switch (spec.program) {
    case 'node':
      return nodeGuest(settings)
    case 'python':
      return pythonGuest(settings)
    default:
      throw new MayflyError(
        'UNAVAILABLE',
        `Cannot start program "${spec.program}": runsc starts none`,
      )
  }
}
