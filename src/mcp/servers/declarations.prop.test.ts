import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { parseSync } from 'oxc-parser'
import { declarationOf } from './declarations.ts'
import { identifierOf, matchesAny } from './tool-catalogue.ts'

const CHARACTERS_MAX = 9000

function declared(inputSchema: unknown, outputSchema: unknown, description = ''): string {
  return declarationOf({
    server: 'hub',
    fn: 'tool',
    description,
    inputSchema,
    outputSchema,
    needsApproval: false,
  })
}

/** Whether a declaration is one call signature in TypeScript, and nothing beside it. */
function isOneSignature(text: string): boolean {
  const source = text.replace(/^((?:\/\*\*.*\*\/\n)?)hub\.tool/, '$1declare function tool')
  const { program, errors } = parseSync('a.ts', source)
  return errors.length === 0 && program.body.length === 1
}

const keyword = fc.constantFrom(
  ...'type properties items enum const anyOf oneOf allOf required $ref $defs additionalProperties'.split(
    ' ',
  ),
)
const schema = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', maxDepth: 5 },
    fc.constantFrom(
      'object',
      'constructor',
      'array',
      'string',
      '*/ evil()',
      '#/$defs/a',
      '`${x}`',
      '"; evil(); "',
    ),
    fc.jsonValue(),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.oneof(keyword, fc.string({ unit: 'binary' })), tie('value'), { maxKeys: 5 }),
  ),
})).value

test('Any schema and description becomes one bounded signature in TypeScript', () => {
  fc.assert(
    fc.property(schema, schema, fc.string({ unit: 'binary' }), (input, output, about) => {
      const text = declared(input, output, about)
      assert.ok(text.length < CHARACTERS_MAX, `${text.length}`)
      assert.ok(isOneSignature(text), text)
    }),
    { numRuns: 300 },
  )
})

test('A description ends no comment, and a reference to itself ends', () => {
  const text = declared(
    { $ref: '#/$defs/a', $defs: { a: { $ref: '#/$defs/a' } } },
    undefined,
    '*/ evil() /*',
  )
  assert.match(text, /^\/\*\* \* \/ evil\(\) \/\* \*\/\nhub\.tool\(input: unknown\)/)
  const wide = {
    type: 'object',
    properties: Object.fromEntries(
      Array.from({ length: 5000 }, (_, n) => [`p${n}`, { type: 'string' }]),
    ),
  }
  assert.ok(declared(wide, wide).length < CHARACTERS_MAX)
})

test('A string literal above 200 characters is shown as its type, so that no literal after it leaves its quotes', () => {
  const long = 'x'.repeat(300)
  const planted = '): Promise<void>\u202e; bank.pay(input: '
  for (const schema of [
    { enum: [long, planted, `${long}y`] },
    { anyOf: [{ const: long }, { const: planted }, { const: `${long}y` }] },
  ]) {
    const text = declared(schema, schema)
    assert.ok(isOneSignature(text), text)
    const type = String.raw`(string | "): Promise<void>\u202e; bank.pay(input: ")`
    assert.equal(text, `hub.tool(input: ${type}): Promise<${type}>`)
  }
})

/** Schema in which each of `width` types has `width` members, and each member refers to the schema itself. */
function branching(width: number): object {
  const members = Array.from({ length: width }, (_, n) => [`p${n}`, { $ref: '#/$defs/a' }])
  const a = { type: Array(width).fill('object'), properties: Object.fromEntries(members) }
  return { ...a, $defs: { a } }
}

test('A schema of a few references makes no more types than a bound, however often each branches', () => {
  const union = { anyOf: Array.from({ length: 40 }, () => ({ $ref: '#/$defs/a' })) }
  for (const schema of [branching(40), { ...union, $defs: { a: union } }]) {
    let reads = 0
    const counted = JSON.parse(JSON.stringify(schema), (_, value: unknown) =>
      typeof value !== 'object' || value === null || Array.isArray(value)
        ? value
        : new Proxy(value, {
            get(of, key) {
              if (key === '$ref' && ++reads > 20_000) throw new Error('too many types')
              return Reflect.get(of, key) as unknown
            },
          }),
    ) as unknown
    assert.ok(isOneSignature(declared(counted, counted)))
    assert.ok(reads > 0)
  }
})

test('A pattern of tools matches only its names, and takes no longer with more stars', () => {
  assert.ok(matchesAny(['create_*'], 'create_issue'))
  assert.ok(matchesAny(['*'], ''))
  assert.ok(matchesAny(['a*b*c'], 'aXbYc'))
  assert.ok(!matchesAny(['a*b*c'], 'acb'))
  assert.ok(!matchesAny(['a*a'], 'a'))
  assert.ok(!matchesAny(['create_*'], 'recreate_issue'))
  assert.ok(!matchesAny(['a.c'], 'abc'))
  assert.ok(!matchesAny([`${'*a'.repeat(90)}b`], 'a'.repeat(100_000)))
})

test('Any name becomes an identifier', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (name) => {
      assert.match(identifierOf(name), /^[A-Za-z_$][\w$]*$/)
    }),
  )
})
