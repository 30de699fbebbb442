import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Language } from '../contract/job.ts'
import { inspect } from './inspect.ts'

const times = 12_000
const properties = Array.from({ length: times }, (_, index) => `a${index}:1`).join()
const many = (text: string) => text.repeat(times)

interface Costly {
  readonly language: Language
  readonly source: string
  /** Control of the same length and number of parts, without the costly kind. */
  readonly harmless: string
}

/** Sources that once took quadratic time. */
const costly: Record<string, Costly> = {
  'reads of an object with many properties': {
    language: 'js',
    source: `const o={${properties}};${many('o.z;')}`,
    harmless: `const o={${properties}},p={};${many('p.z;')}`,
  },
  'names taken from an array with many elements': {
    language: 'js',
    source: `const a=[${many('1,')}];${many('a[0];')}`,
    harmless: `const a=[${many('1,')}],b=[];${many('b[0];')}`,
  },
  'lengths of an object with many properties': {
    language: 'js',
    source: `const o={${properties}};${many('Array.from(o);')}`,
    harmless: `const o={${properties}},p={};${many('Array.from(p);')}`,
  },
  'dials with an object of many properties': {
    language: 'js',
    source: `const o={${properties}};${many('fetch(o);')}`,
    harmless: `const o={${properties}},p={};${many('fetch(p);')}`,
  },
  'calls of a function whose value depends on its argument': {
    language: 'js',
    source: `const f=(a)=>{const b=[${many('a,')}];return b};${many('f("z");')}`,
    harmless: `const f=(a)=>{const b=[${many('a,')}];return b};${many('f;"z";')}`,
  },
  'arguments spread from a long list': {
    language: 'js',
    source: `const a=[${many('1,')}];${many('f(...a);')}`,
    harmless: `const a=[${many('1,')}];${many('f(1,2);')}`,
  },
  'reads of a class with many members': {
    language: 'js',
    source: `class A{${properties.replace(/a/g, 'static a').replace(/:/g, '=').replace(/,/g, ';')}};${many('A.z;')}`,
    harmless: `class A{${properties.replace(/a/g, 'static a').replace(/:/g, '=').replace(/,/g, ';')}};${many('B.z;')}`,
  },
  'modules named by one of many values': {
    language: 'js',
    source: `let a;${many('a="b";')}${many('require(a);')}`,
    harmless: `let a,c="b";${many('a="b";')}${many('require(c);')}`,
  },
  'semicolons after a function': {
    language: 'js',
    source: `function f(){}${many(';'.repeat(20))}`,
    harmless: `f();${many(';'.repeat(20))}`,
  },
  'quotes that are escaped in a string without an end': {
    language: 'python',
    source: `"${many('\\"\\"\\"\\"\\"\\"')}`,
    harmless: `"${many('\\"\\"\\"\\"\\"\\"')}"`,
  },
  'long strings in a text that ends with a backslash': {
    language: 'python',
    source: `"""\n${many('\\"""\n\\"""\n')}\\`,
    harmless: `"""\n${many('\\"""\n\\"""\n')}"""`,
  },
  'spaces in an import': {
    language: 'python',
    source: `import a${many('        ')}b`,
    harmless: `import a${many('bbbbbbbb')}b`,
  },
}

/** CPU time in milliseconds, which other load does not affect. */
function costOf({ source, language }: Pick<Costly, 'source' | 'language'>): number {
  const before = process.cpuUsage()
  inspect({ code: source, language, entry: 'auto', files: [] })
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000
}

const tries = 5

/**
 * Both should cost the same. The allowance is for garbage collection and JIT; the quadratic versions took from
 * 4 to several hundred times as long as the control.
 */
const allowance = { times: 3, ms: 200 }

for (const [name, { language, source, harmless }] of Object.entries(costly)) {
  test(`Each of ${times} parts costs the same: ${name}`, () => {
    costOf({ source: harmless, language })
    const beside = costOf({ source: harmless, language })
    const most = beside * allowance.times + allowance.ms
    // A try may pay for a compilation or a collection of garbage of others; quadratic time would be in each of them.
    let cost = costOf({ source, language })
    for (let left = tries - 1; left > 0 && cost >= most; left--)
      cost = Math.min(cost, costOf({ source, language }))
    assert.ok(
      cost < most,
      `${Math.round(cost)} ms, and ${Math.round(beside)} ms for a harmless one`,
    )
  })
}
