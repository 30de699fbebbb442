import * as fc from 'fast-check'

/**
 * Generator of terminating programs in many shapes: functions that compute, check, parse, change their arguments,
 * share bindings or not, call each other with and without await, throw, and pass data back and forth.
 */
export const program: fc.Arbitrary<string> = fc
  .record({
    functions: fc.array(fc.nat(), { minLength: 1, maxLength: 5 }),
    bodies: fc.array(fc.nat(), { minLength: 5, maxLength: 5 }),
    statements: fc.array(fc.tuple(fc.nat(), fc.nat(), fc.nat()), { minLength: 1, maxLength: 8 }),
    constants: fc.nat(7),
  })
  .map(({ functions, bodies, statements, constants }) => {
    const names = functions.map((_, index) => `f${index}`)
    const declared = names.map((name, index) =>
      functionText(name, functions[index]!, bodies[index]!, names.slice(0, index)),
    )
    return [
      constants & 1 ? 'const limit = 3' : 'let limit = 3',
      constants & 2 ? "const words = ['a', 'b']" : 'const words = []; words.push(1)',
      'let shared = 0',
      'const seen = []',
      ...declared,
      'const got = []',
      ...statements.map((one) => statementText(names, one)),
      'return { got, seen, shared }',
    ].join('\n')
  })

const bodies: readonly ((earlier: string, wait: string) => string)[] = [
  () => 'return x + 1',
  () => 'return typeof x === "string" ? x.length : -0',
  () => 'if (typeof x === "number" && x > 2) throw new RangeError("too much " + x); return x',
  () => 'return [x, { y, z: undefined }]',
  () => 'let sum = 0; for (const one of [1, 2, 3]) sum += one * limit; return sum',
  () => 'return words.includes(x) ? "in" : "out"',
  () => 'shared++; return shared',
  () => 'seen.push(x); return seen.length',
  () => 'console.log("in", x); return null',
  () => 'const out = []; out.push(x); out.push(y); return out',
  () => 'const out = {}; out.a = x; return out',
  () => 'return x.list.map((one) => one * 2)',
  () => 'x.changed = true; return x',
  () => 'return x',
  () => 'return JSON.parse(JSON.stringify([y]))',
  () => 'return () => x',
  () => 'return BigInt(7)',
  () => 'const m = new Map(); m.set("k", 1); return m.size',
  () => 'try { if (y) throw new TypeError("y"); return 1 } catch (e) { return e.message }',
  (earlier, wait) => `return [${wait}${earlier}(x, 1)]`,
  (earlier, wait) => `const inner = ${wait}${earlier}(y, x); return inner`,
  () => 'return x > 0 ? x - 1 : "none"',
  () => 'return undefined',
  () => 'return 0 / 0',
  () => 'const a = [3, 1, 2]; a.sort(); return a.join()',
  () => 'return x.a.b',
  () => 'return y === x',
  () => '"a text\\n with ; and { }"; return `${x}`',
]

function functionText(name: string, kind: number, body: number, earlier: readonly string[]) {
  const called = earlier.length > 0 ? earlier[body % earlier.length]! : 'String'
  const isAsync = kind % 3 !== 0
  const text = bodies[body % bodies.length]!(called, isAsync ? 'await ' : '')
  if (kind % 5 === 4) return `const ${name} = ${isAsync ? 'async ' : ''}(x, y) => { ${text} }`
  return `${isAsync ? 'async ' : ''}function ${name}(x, y) { ${text} }`
}

const values = [
  '1',
  '"a"',
  'input',
  'input.list',
  '{ list: [1, 2], a: { b: 1 } }',
  'got',
  'limit',
  'null',
  '[1, "b"]',
  'seen',
  '-0',
  'undefined',
  '() => 1',
]

function statementText(
  names: readonly string[],
  [how, which, what]: readonly [number, number, number],
) {
  const name = names[which % names.length]!
  const args = `${values[what % values.length]}, ${values[(what >> 4) % values.length]}`
  const templates = [
    `got.push(await ${name}(${args}))`,
    `console.log("out", await ${name}(${args}))`,
    `try { got.push(await ${name}(${args})) } catch (e) { got.push(e.name + e.message) }`,
    `const v${how}_${which}_${what} = await ${name}(${args}); console.log(v${how}_${which}_${what})`,
    `if (await ${name}(${args})) shared += 2`,
    `limit && got.push(limit)`,
    `for (let i = 0; i < 3; i++) got.push(await ${name}(i, ${args}))`,
    `{ const o = await ${name}(${args}); if (o && typeof o === "object") o.more = 1; got.push(o) }`,
    `got.push(${name}(${args}))`,
    `got.push(got.indexOf(await ${name}(${args})))`,
  ]
  // The first templates are weighted higher: they can be split.
  return templates[how % 3 === 0 ? how % templates.length : how % 7]!
}
