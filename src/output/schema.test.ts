import assert from 'node:assert/strict'
import { test } from 'node:test'
import { profileOf } from '../../tests/sim/simulated-life.ts'
import { threadMs } from '../lib/thread-ms.ts'
import { StepBudget, stepsMax, workMsMax } from './schema-budget.ts'
import { createGate } from './gate.ts'
import { compileSchema } from './schema.ts'

/** Schema, matching values, other values. */
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
  [{ prefixItems: [{}, {}], items: false }, [[], [1], [1, 2]], [[1, 2, 3]]],
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
    { uniqueItems: true },
    [
      [1, '1', 0, '0', null, '', false, true, [], {}, [1], ['1'], [[1]], { a: 1 }, { b: 1 }],
      [[1, 2], [2, 1], [1], [2], [], [[]], [[], []], [1, 2, 3], [1, [2, 3]]],
    ],
    [
      [1, 2, 3, 4, 5, 6, 7, 8, 9, 1],
      [0, 1, 2, 3, 4, 5, 6, 7, 8, -0],
      [{ a: { b: 1, c: [2] }, d: 'e' }, 1, 2, 3, 4, 5, 6, 7, { d: 'e', a: { c: [2], b: 1 } }],
      ['x'.repeat(1e5), 1, 2, 3, 4, 5, 6, 7, 'x'.repeat(1e5)],
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

test('A schema accepts matching values and refuses others', () => {
  for (const [schema, good, bad] of cases) {
    const check = compileSchema(schema)
    for (const value of good)
      assert.equal(check(value), undefined, JSON.stringify({ schema, value }))
    for (const value of bad) assert(check(value), JSON.stringify({ schema, value }))
  }
})

test('A mismatch has a position and a reason', () => {
  const check = compileSchema({ properties: { 'a/b': { items: { type: 'number' } } } })
  assert.deepEqual(check({ 'a/b': [1, 'x'] }), {
    path: '/a~1b/1',
    why: 'expected number, found string',
  })
})

test('An invalid or unsupported schema is an error with its position', () => {
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

test('Endlessly branching references are aborted, and nothing matches them', () => {
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

test('Nested data is checked to its last level, and endless nesting is refused', () => {
  const lists = compileSchema({ type: 'array', items: { $ref: '#' } })
  assert.deepEqual(lists(nested(400)), {
    path: '/0'.repeat(400),
    why: 'expected array, found number',
  })
  assert.match(lists(nested(1536))!.why, /too much work/)
})

test('Long paths and names in a mismatch are cut', () => {
  const key = 'k~'.repeat(1e6)
  const { path } = compileSchema({ additionalProperties: { items: false } })({ [key]: [1] })!
  assert.match(path, /^\/k~0k~0.*…$/)
  assert.equal(path.length, 1001)
  assert.equal(compileSchema({ required: [key] })({})!.why.length, 1027)
})

const many = <Part>(count: number, part: Part) => Array.from({ length: count }, () => part)
const record = (keys: number, value: unknown = 0) =>
  Object.fromEntries(Array.from({ length: keys }, (_, place) => [`k${place}`, value]))

/** Schema, a value of 2,000 members or 64,000 units, and the minimum of steps to visit all of it. */
const passes: readonly (readonly [string, unknown, unknown, number])[] = [
  ['minLength', { minLength: 1 }, 'x'.repeat(64_000), 2000],
  ['enum', { enum: ['x'.repeat(64_000)] }, `${'x'.repeat(63_999)}x`, 2000],
  ['const', { const: record(2000) }, record(2000), 2000],
  ['items', { items: true }, many(2000, 1), 2000],
  ['items behind others', { prefixItems: [true], items: {} }, many(2000, 1), 1999],
  ['contains', { contains: true }, many(2000, 1), 2000],
  ['uniqueItems', { uniqueItems: true }, Object.keys(record(2000)), 2000],
  ['uniqueItems in depth', { uniqueItems: true }, [many(2000, 1), [...many(1999, 1), 2]], 2000],
  ['uniqueItems of text', { uniqueItems: true }, [...many(9, 1).keys(), 'x'.repeat(64_000)], 2000],
  ['additionalProperties', { additionalProperties: true }, record(2000), 2000],
  ['no others', { additionalProperties: {}, properties: record(2000, true) }, record(2000), 4000],
  ['propertyNames', { propertyNames: true }, record(2000), 2000],
  ['required', { required: Object.keys(record(2000)) }, record(2000), 2000],
  ['a long name', { properties: { ['x'.repeat(64_000)]: true } }, record(1), 2000],
  ['dependentRequired', { dependentRequired: record(2000, ['k0']) }, record(2000), 4000],
]

test('A keyword that visits a whole value charges for all of it', () => {
  for (const [name, schema, value, least] of passes) {
    const budget = new StepBudget()
    compileSchema(
      { $defs: { one: schema }, allOf: many(10, { $ref: '#/$defs/one' }) },
      budget,
    )(value)
    assert(budget.steps >= 10 * least, `${name}: ${budget.steps} steps`)
    assert(budget.steps < 60 * least, `${name}: ${budget.steps} steps`)
  }
})

test('Keys of a large object are listed once per check, however many keywords ask', () => {
  let lists = 0
  const value = new Proxy(record(100), {
    ownKeys: (target) => (lists++, Reflect.ownKeys(target)),
  })
  const parts = [{ minProperties: 1 }, { maxProperties: 100 }, { propertyNames: true }]
  const check = compileSchema({ allOf: many(10, { allOf: [...parts, { const: record(100) }] }) })
  assert.equal(check(value), undefined)
  assert.equal(lists, 1)
})

test('A check over its step limit matches nothing, and neither do later ones of its job', () => {
  const schema = { allOf: many(2000, { minItems: 0, items: true }) }
  const budget = new StepBudget(() => 0)
  const check = compileSchema(schema, budget)
  assert.equal(check([1]), undefined)
  assert.match(check(many(10_000, 1))!.why, /too much work/)
  assert(budget.steps > stepsMax && budget.steps < stepsMax + 20_000)
  assert.match(compileSchema(true, budget)(1)!.why, /too much work/)
})

test('The calls of a batch share one step budget', () => {
  const twice = { anyOf: [{ $ref: '#' }, { $ref: '#' }] }
  const schema = { anyOf: [{ type: 'number' }, { type: 'array', items: twice }] }
  const gate = createGate(profileOf({ output: { gate: 'stream', schema } }), undefined, 3)
  const branching = `${'['.repeat(60)}"x"${']'.repeat(60)}`
  for (const resultText of ['1', branching, '2'])
    gate.answered({ status: 'ok', resultText, encoding: 'json', executionTime: 1 })
  const { calls } = gate.close({
    status: 'ok',
    resultText: 'null',
    encoding: 'json',
    cpuTime: 0,
    artifacts: [],
  })
  const ends = calls?.map(({ status, error }) => [status, error?.code])
  const refused = ['refused', 'SCHEMA_MISMATCH']
  assert.deepEqual(ends, [['ok', undefined], refused, refused])
})

test('The time of checks is summed per job, and past the limit nothing matches', () => {
  let now = 0
  const check = compileSchema({ items: { type: 'number' } }, new StepBudget(() => (now += 20)))
  const list = many(4000, 1)
  const matched: boolean[] = []
  for (let call = 0; call < 10; call++) {
    matched.push(check(list) === undefined)
    now += 10 * workMsMax
  }
  assert.deepEqual(matched.slice(0, 2), [true, true])
  assert.deepEqual(matched.slice(-5), many(5, false))
})

const large = record(100_000)

/** Would block the event loop for seconds if steps were undercounted: a schema to check 300 times. */
const hostile: readonly (readonly [string, unknown, unknown])[] = [
  ['keys counted', { minProperties: 1 }, large],
  ['keys held against none', { not: { additionalProperties: false } }, large],
  ['names', { propertyNames: true }, large],
  ['items', { not: { prefixItems: [true], items: false } }, many(1e6, 1)],
  ['objects', { uniqueItems: true }, [...many(9, 0).keys(), large]],
  ['a key', { additionalProperties: { not: false } }, { ['~/'.repeat(1e6)]: 1 }],
]

test('No check blocks the event loop for much longer than its time limit', () => {
  const before = threadMs()
  Object.keys(large)
  // Tolerance: keys of one object are listed in one go, and a busy machine is slower at everything.
  const lateness = 4 * (threadMs() - before) + workMsMax
  for (const [name, one, value] of hostile) {
    const check = compileSchema({ $defs: { one }, allOf: many(300, { $ref: '#/$defs/one' }) })
    const start = threadMs()
    check(value)
    const took = threadMs() - start
    assert(took < workMsMax + lateness, `${name}: ${took} ms, ${lateness} of them for lateness`)
  }
})

const usual = {
  type: 'array',
  uniqueItems: true,
  items: {
    type: 'object',
    required: ['id', 'name', 'tags', 'at'],
    additionalProperties: false,
    properties: {
      id: { type: 'integer', minimum: 0 },
      name: { type: 'string', minLength: 1, maxLength: 100 },
      tags: { type: 'array', items: { enum: ['a', 'b', 'c'] }, uniqueItems: true },
      at: { $ref: '#/$defs/point' },
    },
  },
  $defs: {
    point: {
      type: 'object',
      required: ['x', 'y'],
      properties: { x: { type: 'number' }, y: { type: 'number' } },
    },
  },
}

test('Honest results of 4 MB are checked completely', () => {
  const rows = Array.from({ length: 50_000 }, (_, id) => ({
    id,
    name: `name ${id}`,
    tags: ['a', 'b'],
    at: { x: id / 4, y: -id },
  }))
  const map = record(300_000)
  const honest: readonly (readonly [unknown, unknown])[] = [
    [usual, rows],
    [{ type: 'array', items: { type: 'integer', minimum: 0, maximum: 1 } }, many(2e6, 1)],
    [{ uniqueItems: true, items: { type: 'string' } }, Object.keys(map)],
    [{ propertyNames: { maxLength: 9 }, additionalProperties: { type: 'number' } }, map],
  ]
  // Stopped clock: steps alone must suffice on every machine.
  for (const [schema, value] of honest)
    assert.equal(compileSchema(schema, new StepBudget(() => 0))(value), undefined)
  const wrong = rows.with(49_999, { ...rows[0]!, id: -1 })
  assert.deepEqual(compileSchema(usual, new StepBudget(() => 0))(wrong), {
    path: '/49999/id',
    why: 'expected at least 0',
  })
})

test('Values nested to the limit are compared or refused, without a stack overflow', () => {
  const chain = many(15, 0).map((_, place) => {
    let schema: unknown = { $ref: `#/$defs/d${place + 1}` }
    for (let level = 0; level < 30; level++) schema = { anyOf: [schema] }
    return [`d${place}`, schema] as const
  })
  const $defs = { ...Object.fromEntries(chain), d15: { uniqueItems: true } }
  const check = compileSchema({ $defs, $ref: '#/$defs/d0' })
  assert.match(check([nested(500), nested(500)])!.why, /no item twice/)
  assert.match(check([nested(1536), nested(1536)])!.why, /too much work/)
})
