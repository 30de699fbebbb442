import { MayflyError } from '../../../contract/error.ts'
import type { EnclosureSpec } from '../../../contract/engine.ts'
import type { JailedProgram } from '../../../jail/embedded.ts'
import type { Compiled } from '../../../jail/compiled.ts'
import { findImageRoot, programOfImage } from '../../../jail/image-root.ts'
import { preparedProgram } from '../../../jail/prepared.ts'
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
export async function programFor(spec: EnclosureSpec, compiled: Compiled): Promise<RunscProgram> {
  const { nodeProgram, pythonProgram } = await import('../../../jail/whole-guests.ts')
  const settings = { scratchBytes: spec.disk ?? DISK_BYTES, isWarm: spec.spares > 0 }
  switch (spec.program) {
    case 'node':
      return wholeOf(nodeProgram({ ...settings, hasThreads: true }), spec, compiled)
    case 'python':
      return wholeOf(pythonProgram(settings), spec, compiled)
    default:
      throw new MayflyError(
        'UNAVAILABLE',
        `Cannot start program "${spec.program}": runsc does not support it`,
      )
  }
}

function wholeOf(
  program: JailedProgram,
  { image }: EnclosureSpec,
  compiled: Compiled,
): RunscProgram {
  const prepared = preparedProgram(program, compiled, image !== undefined)
  const { main, whole } =
    image === undefined ? prepared : programOfImage(prepared, findImageRoot(image))
  if (!whole) throw new Error('a guest is a whole program')
  return { main, whole }
}
