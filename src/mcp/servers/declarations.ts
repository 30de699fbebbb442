import { sanitise } from '../../output/sanitise.ts'

/**
 * TypeScript declarations of the tools of a server, for a model.
 *
 * Schemas and names are untrusted: every name and value is a whole text of JSON.stringify or is an identifier, comments contain
 * no end of a comment, and depth, members, characters and the number of types are bounded, because a schema that refers to itself
 * branches without end. They are never compiled; unsupported schemas become `unknown`.
 */
const DEPTH_MAX = 6
/** Maximum of types that are made for one declaration; a type of this many does not fit into `CHARACTERS_MAX`. */
const TYPES_MAX = 2000
/** Members of a schema that count as one type, because all of them are listed before the first are taken. */
const MEMBERS_PER_TYPE = 100
const LITERAL_CHARACTERS_MAX = 200
const MEMBERS_MAX = 60
const CHOICES_MAX = 40
const CHARACTERS_MAX = 4000
const COMMENT_CHARACTERS_MAX = 400

type Schema = Readonly<Record<string, unknown>>

export interface Declared {
  readonly server: string
  readonly fn: string
  readonly description: string
  readonly inputSchema: unknown
  readonly outputSchema: unknown
  readonly needsApproval: boolean
}

/** Declaration of a tool as a function of its server's object. */
export function declarationOf(tool: Declared): string {
  const { server, fn, description, inputSchema, outputSchema, needsApproval } = tool
  const made = { types: 0 }
  const input = typeText(inputSchema, { root: inputSchema, depth: 0, made })
  const output =
    outputSchema === undefined
      ? 'unknown'
      : typeText(outputSchema, { root: outputSchema, depth: 0, made })
  const comment = commentOf(
    `${description}${needsApproval ? ' (a person has to approve each call)' : ''}`,
  )
  return `${comment}${server}.${fn}(input: ${input}): Promise<${output}>`
}

function commentOf(text: string): string {
  const line = text.replace(/\s+/g, ' ').replaceAll('*/', '* /').trim()
  return line === '' ? '' : `/** ${line.slice(0, COMMENT_CHARACTERS_MAX)} */\n`
}

interface At {
  readonly root: unknown
  readonly depth: number
  /** Types that were made so far, of the whole declaration. */
  readonly made: { types: number }
}

function typeText(given: unknown, at: At): string {
  const text = typeOf(given, at)
  return text.length > CHARACTERS_MAX ? 'unknown' : text
}

function typeOf(given: unknown, at: At): string {
  if (!isSchema(given) || at.depth > DEPTH_MAX || ++at.made.types > TYPES_MAX) return 'unknown'
  const deeper = { ...at, depth: at.depth + 1 }
  const { $ref: ref, const: only, enum: choices, anyOf, oneOf, allOf, type } = given
  if (typeof ref === 'string') return typeText(referred(ref, at.root), deeper)
  if (only !== undefined) return literal(only)
  if (Array.isArray(choices)) return joined(choices.slice(0, CHOICES_MAX).map(literal), ' | ')
  const union = Array.isArray(anyOf) ? anyOf : Array.isArray(oneOf) ? oneOf : undefined
  if (union)
    return joined(
      union.slice(0, CHOICES_MAX).map((one) => typeText(one, deeper)),
      ' | ',
    )
  if (Array.isArray(allOf))
    return joined(
      allOf.slice(0, CHOICES_MAX).map((one) => typeText(one, deeper)),
      ' & ',
    )
  if (Array.isArray(type))
    return joined(
      type.slice(0, CHOICES_MAX).map((one) => typeOf({ ...given, type: one }, at)),
      ' | ',
    )
  if (type === 'object' || isSchema(given['properties'])) return objectText(given, deeper)
  if (type === 'array') return `Array<${typeText(given['items'], deeper)}>`
  return (typeof type === 'string' && primitives.get(type)) || 'unknown'
}

const primitives: ReadonlyMap<string, string> = new Map([
  ['string', 'string'],
  ['number', 'number'],
  ['integer', 'number'],
  ['boolean', 'boolean'],
  ['null', 'null'],
])

function objectText(schema: Schema, at: At): string {
  const { properties, required, additionalProperties: more } = schema
  const needed = new Set(Array.isArray(required) ? required.slice(0, MEMBERS_MAX) : [])
  const names = isSchema(properties) ? Object.keys(properties) : []
  at.made.types += names.length / MEMBERS_PER_TYPE
  const own = names
    .slice(0, MEMBERS_MAX)
    .map((name) => [name, (properties as Schema)[name]] as const)
  const members = own.map(([name, one]) => {
    const key = /^[A-Za-z_$][\w$]{0,63}$/.test(name) ? name : quoted(name.slice(0, 100))
    return `${key}${needed.has(name) ? '' : '?'}: ${typeText(one, at)}`
  })
  if (own.length === 0) return `Record<string, ${isSchema(more) ? typeText(more, at) : 'unknown'}>`
  return `{ ${members.join('; ')} }`
}

/** Resolves a reference within the same schema, such as `#/$defs/Item`; others are not followed. */
function referred(ref: string, root: unknown): unknown {
  if (!ref.startsWith('#/') || ref.length > 200) return undefined
  let found: unknown = root
  for (const part of ref.slice(2).split('/'))
    found = isSchema(found) && Object.hasOwn(found, part) ? found[part] : undefined
  return found
}

/** Type of one value. A long text is shown as `string`: a part of it would have no closing quote. */
function literal(value: unknown): string {
  if (value === null || ['number', 'boolean'].includes(typeof value)) return JSON.stringify(value)
  if (typeof value !== 'string') return 'unknown'
  return value.length > LITERAL_CHARACTERS_MAX ? 'string' : quoted(value)
}

/** A text in quotes, with all control and bidi characters as escapes. */
function quoted(text: string): string {
  return sanitise(JSON.stringify(text))
}

function joined(texts: readonly string[], by: string): string {
  const all = [...new Set(texts)]
  return all.length === 0 ? 'unknown' : all.length === 1 ? all[0]! : `(${all.join(by)})`
}

function isSchema(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
