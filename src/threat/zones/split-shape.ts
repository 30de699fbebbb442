import type { Language } from '../../contract/job.ts'
import type { ZoneSplit } from '../../contract/zones.ts'
import { positionOf } from '../position.ts'
import type { Shape } from '../shape.ts'
import type { Tree } from '../syntax.ts'
import { split } from './split.ts'

const whole: ZoneSplit = { zones: [], residual: [], calls: [] }

/**
 * Zones of a source by its shape: of a script's body, a module or a handler; a single function stays whole.
 * Sources for Node have none, but their functions are still reported. Undefined if it cannot be read.
 */
export function splitShape(
  shape: Shape & { kind: 'shape' },
  tree: Tree,
  { source, language }: { readonly source: string; readonly language: Language },
): ZoneSplit | undefined {
  const { program, shift } = shape.parsed
  if (shape.entry === 'function') return whole
  const isWhole = language === 'node' || shape.entry === 'program'
  const refusal = isWhole ? 'a program is one zone, but for the programs it starts' : undefined
  const place = (at: number) => {
    const offset = Math.min(Math.max(0, at - shift), source.length)
    return { offset, line: positionOf(source, offset).line }
  }
  try {
    return split({ program, tree, place, refusal })
  } catch (error) {
    // Too deeply nested to be read: an empty split would say that it has no function.
    if (error instanceof RangeError) return undefined
    throw error
  }
}
