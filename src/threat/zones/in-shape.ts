import type { Split } from '../../contract/zones.ts'
import { positionOf } from '../position.ts'
import type { Shape } from '../shape.ts'
import type { Tree } from '../syntax.ts'
import { split } from './split.ts'

const whole: Split = { zones: [], residual: [], calls: [] }

/** The zones of a source by its shape: of a script's body, a module or a handler; one function is left whole. */
export function splitShape(shape: Shape & { kind: 'shape' }, tree: Tree, source: string): Split {
  const { program, shift } = shape.parsed
  if (shape.entry !== 'body' && shape.entry !== 'module' && shape.entry !== 'handler') return whole
  const place = (at: number) => {
    const offset = Math.min(Math.max(0, at - shift), source.length)
    return { offset, line: positionOf(source, offset).line }
  }
  try {
    return split({ program, tree, place })
  } catch (error) {
    // What is nested too deeply to be looked through is left whole.
    if (error instanceof RangeError) return whole
    throw error
  }
}
