import * as z from 'zod'
import { checked } from '../contract/checked.ts'
import { MayflyError } from '../contract/error.ts'
import type { ToolAnswer } from './tool-answer.ts'
import type { ToolCaller, ToolHost } from './tool-host.ts'

/** Maximum nesting of arguments, the same as of an HTTP body. */
const DEPTH_MAX = 64
/** Maximum of values in the arguments of a call. */
const VALUES_MAX = 500_000

/** Tool annotations of the protocol. Advisory: clients must not trust them, and Mayfly enforces nothing by them. */
export interface ToolHints {
  readonly readOnlyHint: boolean
  readonly destructiveHint: boolean
  readonly idempotentHint: boolean
  readonly openWorldHint: boolean
}

/** Tool, as listed by `tools/list`. */
export interface Tool {
  readonly name: string
  readonly title: string
  readonly description: string
  readonly inputSchema: JsonSchema
  readonly outputSchema: JsonSchema
  hints(host: Pick<ToolHost, 'hasNetwork'>): ToolHints
  /** Throws MayflyError INVALID for invalid arguments, and the errors of `ToolHost`. */
  call(host: ToolHost, args: unknown, caller: ToolCaller): Promise<ToolAnswer>
}

export type JsonSchema = Readonly<Record<string, unknown>> & { readonly type: 'object' }

interface ToolParts<I extends z.ZodType> extends Pick<
  Tool,
  'name' | 'title' | 'description' | 'hints'
> {
  readonly input: I
  readonly output: z.ZodType
  answer(host: ToolHost, asked: z.output<I>, caller: ToolCaller): Promise<ToolAnswer>
}

export function makeTool<I extends z.ZodType>(parts: ToolParts<I>): Tool {
  const { name, title, description, hints, input, output, answer } = parts
  return {
    name,
    title,
    description,
    hints,
    inputSchema: objectSchema(input, 'input'),
    outputSchema: objectSchema(output, 'output'),
    call(host, args, caller) {
      refuseDeep(args)
      return answer(host, checked(input, args, 'arguments'), caller)
    },
  }
}

/** JSON Schema of an object, without the keyword `readOnly`, which some clients interpret as a form field. */
export function objectSchema(schema: z.ZodType, io: 'input' | 'output'): JsonSchema {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, {
    io,
    unrepresentable: 'any',
    override: ({ jsonSchema }) => delete jsonSchema.readOnly,
  })
  return { ...rest, type: 'object' }
}

/** Limits depth and number of values before schema validation; does not recurse. Throws MayflyError INVALID. */
export function refuseDeep(args: unknown): void {
  const todo: (readonly [value: unknown, depth: number])[] = [[args, 1]]
  let values = 0
  for (let next = todo.pop(); next; next = todo.pop()) {
    const [value, depth] = next
    if (typeof value !== 'object' || value === null) continue
    if (depth > DEPTH_MAX) throw invalidArguments(`expected a depth of ${DEPTH_MAX} at most`)
    for (const one of Object.values(value)) {
      if (++values > VALUES_MAX) throw invalidArguments(`expected ${VALUES_MAX} values at most`)
      if (typeof one === 'object' && one !== null) todo.push([one, depth + 1])
    }
  }
}

export function invalidArguments(message: string): MayflyError {
  return new MayflyError('INVALID', `Cannot use the arguments: ${message}`)
}
