import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compileSchema } from './schema.ts'

/** Schema, what matches it, what does not. */
const cases: readonly (readonly [unknown, readonly unknown[], readonly unknown[]])[] = [
  [true, [1, null], []],
  [false, [], [1, null]],
  [{}, [1, {}], []],
  [{ type: 'integer' }, [1, 1.0, -3], [1.5, '1', null]],
  [{ type: ['string', 'null'] }, ['', null], [1, {}, []]],
  [{ type: 'object' }, [{}], [[], null]],
  [{ type: 'array' }, [[]], [{}]],
  [{ enum: [1, { a: [1, 2], b: 0 }] }, [1, { b: 0, a: [1, 2] }], ['1', { a: [2, 1], b: 0 }]],
  [{ const: null }, [null], [0, {}]],
  [{ minimum: 1, maximum: 3 }, [1, 3, 'text'], [0, 4]],
  [{ exclusiveMinimum: 1, exclusiveMaximum: 3 }, [2], [1, 3]],
  [{ multipleOf: 0.01 }, [0.07, 19.99, 1], [0.075]],
  [
    { minLength: 2, maxLength: 3 },
    ['ab', '\u{1f600}\u{1f600}\u{1f600}'],
    ['a', 'abcd', '\u{1f600}'],
  ],
  [
    { prefixItems: [{ type: 'string' }], items: { type: 'number' } },
    [['a', 1], ['a'], []],
    [[1], ['a', 'b']],
  ],
  [{ contains: { const: 1 } }, [[0, 1]], [[], [0]]],
  [{ contains: { const: 1 }, minContains: 0, maxContains: 1 }, [[], [1]], [[1, 1]]],
  [{ minItems: 1, maxItems: 2 }, [[1], [1, 2]], [[], [1, 2, 3]]],
  [
    { uniqueItems: true },
    [[1, '1', [1]], []],
    [
      [1, 1],
      [
        { a: 1, b: 2 },
        { b: 2, a: 1 },
      ],
    ],
  ],
  [
    { properties: { a: { type: 'number' } }, required: ['a'], additionalProperties: false },
    [{ a: 1 }],
    [{}, { a: '1' }, { a: 1, b: 2 }],
  ],
  [
    { properties: { toString: { type: 'string' } }, required: ['toString'] },
    [{ toString: '' }],
    [{}],
  ],
  [{ additionalProperties: { type: 'number' } }, [{ a: 1 }], [{ a: 'b' }]],
  [{ propertyNames: { maxLength: 1 } }, [{ a: 1 }], [{ ab: 1 }]],
  [{ minProperties: 1, maxProperties: 1 }, [{ a: 1 }], [{}, { a: 1, b: 1 }]],
  [{ dependentRequired: { a: ['b'] } }, [{}, { a: 1, b: 1 }], [{ a: 1 }]],
  [{ dependentSchemas: { a: { required: ['b'] } } }, [{}, { a: 1, b: 1 }], [{ a: 1 }]],
  [{ allOf: [{ minimum: 1 }, { maximum: 2 }] }, [1], [0, 3]],
  [{ anyOf: [{ const: 1 }, { const: 2 }] }, [1, 2], [3]],
  [{ oneOf: [{ minimum: 1 }, { maximum: 2 }] }, [0, 3], [1.5]],
  [{ not: { type: 'string' } }, [1], ['']],
  [JSON.parse('{"if":{"const":1},"then":false,"else":{"const":2}}'), [2], [1, 3]],
  [
    { $defs: { 'a/b': { type: 'array', items: { $ref: '#/$defs/a~1b' } } }, $ref: '#/$defs/a~1b' },
    [[[], [[]]]],
    [[1], [[[{}]]]],
  ],
  [{ type: 'string', format: 'email', title: 'note' }, ['not an address'], [1]],
]

test('A schema accepts what it describes and refuses what it does not', () => {
  for (const [schema, good, bad] of cases) {
    const check = compileSchema(schema)
    for (const value of good)
      assert.equal(check(value), undefined, JSON.stringify({ schema, value }))
    for (const value of bad) assert(check(value), JSON.stringify({ schema, value }))
  }
})

test('A mismatch says where and why', () => {
  const check = compileSchema({ properties: { 'a/b': { items: { type: 'number' } } } })
  assert.deepEqual(check({ 'a/b': [1, 'x'] }), {
    path: '/a~1b/1',
    why: 'expected number, found string',
  })
})

test('A schema that is none, or that asks for what is not supported, is an error that says where', () => {
  const wrong: readonly (readonly [unknown, string])[] = [
    [1, ''],
    [{ type: 'text' }, '/type'],
    [{ properties: { a: { pattern: '^(a+)+$' } } }, '/properties/a/pattern'],
    [{ unevaluatedProperties: false }, '/unevaluatedProperties'],
    [{ required: 'a' }, '/required'],
    [{ items: [{}] }, '/items'],
    [{ allOf: [] }, '/allOf'],
    [{ minLength: -1 }, '/minLength'],
    [{ multipleOf: 0 }, '/multipleOf'],
    [{ $ref: 'https://example.com/schema' }, '/$ref'],
    [{ $ref: '#/default', default: { pattern: 'x' } }, '/$ref'],
    [{ $ref: '#/constructor' }, '/$ref'],
  ]
  for (const [schema, path] of wrong) {
    assert.throws(
      () => compileSchema(schema),
      (thrown: { code: string; details: { path: string } }) =>
        thrown.code === 'INVALID' && thrown.details.path === path,
      JSON.stringify(schema),
    )
  }
  let deep: unknown = {}
  for (let level = 0; level < 70; level++) deep = { items: deep }
  assert.throws(() => compileSchema(deep), { code: 'INVALID' })
})

test('References that branch for ever are cut off, and nothing matches them', () => {
  const parts = Array.from({ length: 60 }, (_, place) => {
    const next = { $ref: `#/$defs/p${place + 1}` }
    return [`p${place}`, { anyOf: [next, next] }] as const
  })
  const branching = compileSchema({
    $defs: { ...Object.fromEntries(parts), p60: { type: 'string' } },
    $ref: '#/$defs/p0',
  })
  assert.match(branching(1)!.why, /too much work/)
  assert.match(compileSchema({ $ref: '#' })(1)!.why, /too much work/)
  assert.match(compileSchema({ anyOf: [{ $ref: '#' }, { $ref: '#' }] })(1)!.why, /too much work/)
})

function nested(levels: number): unknown {
  let data: unknown = 1
  for (let level = 0; level < levels; level++) data = [data]
  return data
}

test('Nested data is checked to its last level, and data nested without end is refused', () => {
  const lists = compileSchema({ type: 'array', items: { $ref: '#' } })
  assert.deepEqual(lists(nested(400)), {
    path: '/0'.repeat(400),
    why: 'expected array, found number',
  })
  assert.match(lists(nested(1536))!.why, /too much work/)
})
