import { MayflyError } from '../../../contract/error.ts'
import type { EnclosureSpec } from '../../../contract/engine.ts'
import type { JailedProgram } from '../../../jail/embedded.ts'
import { findImageRoot, programOfImage } from '../../../jail/image-root.ts'
import type { WholeProgram } from '../../../jail/whole.ts'

/** A program with its runner and the settings of its wall. */
export interface RunscProgram {
  readonly main: string
  readonly whole: WholeProgram
}

const DISK_BYTES = 64 * 2 ** 20

/**
 * Composes the program; its modules are loaded with the first wall. Throws MayflyError NOT_FOUND if the image is not
 * unpacked.
 */
export async function programFor(spec: EnclosureSpec): Promise<RunscProgram> {
  const { nodeProgram, pythonProgram } = await import('../../../jail/whole-guests.ts')
  const settings = { scratchBytes: spec.disk ?? DISK_BYTES, isWarm: spec.spares > 0 }
  switch (spec.program) {
    case 'node':
      return wholeOf(nodeProgram({ ...settings, hasThreads: true }), spec)
    case 'python':
      return wholeOf(pythonProgram(settings), spec)
    default:
      throw new MayflyError(
        'UNAVAILABLE',
        `Cannot start program "${spec.program}": runsc does not support it`,
      )
  }
}

function wholeOf(program: JailedProgram, { image }: EnclosureSpec): RunscProgram {
  const { main, whole } =
    image === undefined ? program : programOfImage(program, findImageRoot(image))
  if (!whole) throw new Error('a guest is a whole program')
  return { main, whole }
}
