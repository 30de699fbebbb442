import type { Language } from '../../contract/job.ts'
import type { ZoneSplit } from '../../contract/zones.ts'
import { soleFunction, wrapperOf } from '../parse.ts'
import { positionOf } from '../position.ts'
import type { Shape } from '../shape.ts'
import type { Node, Tree } from '../syntax.ts'
import { nodesIn } from './closed.ts'
import { kindOf, usesOf } from './kind.ts'
import { split, type SplitRequest } from './split.ts'

const whole: ZoneSplit = { zones: [], residual: [], calls: [] }

/**
 * Zones of a source by its shape: of a script's body, a module or a handler; a single function stays whole.
 * Sources for Node have none. Functions that stay are still reported, a single one by its name. Undefined if it cannot be read.
 */
export function splitShape(
  shape: Shape & { kind: 'shape' },
  tree: Tree,
  { source, language }: { readonly source: string; readonly language: Language },
): ZoneSplit | undefined {
  const { program, shift } = shape.parsed
  const isWhole = language === 'node' || shape.entry === 'program'
  const refusal = isWhole ? 'a program is one zone, but for the programs it starts' : undefined
  const place = (at: number) => {
    const offset = Math.min(Math.max(0, at - shift), source.length)
    return { offset, line: positionOf(source, offset).line }
  }
  try {
    return shape.entry === 'function'
      ? splitOfFunction(program, tree, place)
      : split({ program, tree, place, refusal })
  } catch (error) {
    // Too deeply nested to be read: an empty split would say that it has no function.
    if (error instanceof RangeError) return undefined
    throw error
  }
}

/** Split of a source that is one function: it stays, so that no policy by its name is lost in silence. */
function splitOfFunction(program: Node, tree: Tree, place: SplitRequest['place']): ZoneSplit {
  const node = soleFunction(program, wrapperOf(program) ? 'body' : 'expression')?.node
  if (!node?.['id']) return whole
  const name: string = node['id'].name
  const inside = nodesIn(node, tree, tree.indexOf(node))
  const stayed = {
    name: name.slice(0, 200),
    kind: kindOf(name, inside, usesOf(inside)),
    line: place(node.start).line,
    endLine: place(node.end - 1).line,
    why: 'a source that is one function is one zone',
  }
  return { ...whole, residual: [stayed] }
}
