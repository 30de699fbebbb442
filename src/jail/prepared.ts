import type { Compiled } from './compiled.ts'
import type { JailedProgram } from './embedded.ts'
import { joinedProgram } from './joined.ts'
import { pythonFile } from './whole.ts'

/**
 * The program with its prepared code, as far as that is ready: Node's modules joined into one file, and bytecode for the
 * runner and the standard library of this machine's Python, which is left out in an image with a Python of its own.
 */
export function preparedProgram(
  program: JailedProgram,
  { joined, python }: Pick<Compiled, 'joined' | 'python'>,
  isInImage: boolean,
): JailedProgram {
  const { whole } = program
  if (whole?.interpreter !== pythonFile) return joinedProgram(program, joined)
  if (!python || isInImage) return program
  return { ...program, whole: { ...whole, places: [...whole.places, python] } }
}
