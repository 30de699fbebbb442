import assert from 'node:assert/strict'
import { test } from 'node:test'
import { capOf, javascriptCap, sourceUnitsMax, tokensMax, typescriptCap } from './cap.ts'

const many = (text: string, times = 100_000) => text.repeat(times)

/** Each crashed the parser or the type stripper, by a segmentation fault or worse. */
const deep: Record<string, string> = {
  parentheses: many('(') + '1' + many(')'),
  brackets: many('[') + many(']'),
  braces: many('{') + many('}'),
  objects: `x=${many('{a:')}1${many('}')}`,
  'template holes': many('`${') + '1' + many('}`'),
  arrows: `${many('a=>')}1`,
  'async arrows': `${many('async a=>')}1`,
  'arrows after commas': many('a=>(a,') + '1' + many(')'),
  exclamations: `${many('!')}1`,
  minuses: `${many('- ')}1`,
  typeofs: `${many('typeof ')}1`,
  'typeofs between exotic spaces': `${many('typeof\u3000')}1`,
  news: `${many('new ')}a`,
  conditionals: `${many('a?b:')}c`,
  'conditionals inside': `${many('a?')}b${many(':c')}`,
  'else-if chains': `${many('if(a);else ')};`,
  'else-if chains with commas': `${many('if(a)b,c;else ')};`,
  'else-do chains': `${many('if(a)do x; while(b);else ')};`,
  'else-if chains with blocks': `${many('if(a){}else ')};`,
  ifs: `${many('if(a)')};`,
  additions: `${many('a+')}a`,
  powers: `${many('a**')}a`,
  ands: `${many('a&&')}a`,
  assignments: `${many('a=')}a`,
  'tagged templates': `a${many('``')}`,
  labels: `${many('a:')};`,
  fors: `${many('for(;;)')};`,
  dos: `${many('do ')};${many('while(a)')}`,
  classes: `x=${many('class extends ')}a${many('{}')}`,
  functions: many('function f(){') + many('}'),
  'default parameters': many('(a=') + '1' + many(')=>1'),
  comparisons: `${many('a<')}a`,
  'a bracket after a regex that looks like a string': `if(a)/"/;${many('[')}${many(']')}//"`,
  'a bracket after a regex behind a block': `{}/"/;${many('[')}${many(']')}//"`,
  'a bracket after an incremented regex': `a\n++/"/.b;${many('[')}${many(']')}//"`,
  'a bracket after an HTML comment': `a<!--b"\n;${many('[')}${many(']')};"`,
  'a bracket after an awaited regex': `async()=>{await/"/;${many('[')}${many(']')}}//"`,
  'escaped names': many('(\\u{61}=>') + '1' + many(')'),
}

for (const [name, source] of Object.entries(deep)) {
  test(`a source with deeply nested ${name} does not pass the cap`, () => {
    assert.equal(capOf(source, javascriptCap).kind, 'over')
    assert.equal(capOf(source, typescriptCap).kind, 'over')
  })
}

const deepTypes: Record<string, string> = {
  'type arguments': `type A=${many('A<')}1${many('>')}`,
  'type arguments after commas': `type A=${many('B<x,')}1${many('>')}`,
  'angle-bracket assertions': `x=${many('<A>')}1`,
  keyofs: `type A=${many('keyof\n')}A`,
  'conditional types': `type A=${many('A extends B?C:')}D`,
  'function types': `type A=${many('()=>')}D`,
}

for (const [name, source] of Object.entries(deepTypes)) {
  test(`a TypeScript source with deeply nested ${name} does not pass the cap`, () => {
    assert.equal(capOf(source, typescriptCap).kind, 'over')
  })
}

const wide: Record<string, string> = {
  'statements without semicolons': many('a = b + c\n', 20_000),
  'statements with semicolons': many('a=b+c;', 20_000),
  'a long list': `[${many('a+b,', 20_000)}]`,
  'a long object': `({${many('a:b?c:d,', 20_000)}})`,
  'blocks in a row': many('if(a){b}', 20_000),
  'if and else in a row': many('if(a)b;else c;', 20_000),
  'functions in a row': many('function f(a){return a}\n', 20_000),
  'methods in a row': `class A{${many('m(){}\n', 20_000)}}`,
  'cases in a row': `switch(a){${many('case 1:', 20_000)}}`,
  'brackets in strings': `a="${many('[')}"`,
  'brackets in comments': `/*${many('[')}*/ //${many('(')}`,
  'brackets in a template': `a=\`${many('[')}\``,
  'brackets in a regex': `a=/${many('\\[')}/`,
}

for (const [name, source] of Object.entries(wide)) {
  test(`a wide but shallow source passes the cap: ${name}`, () => {
    assert.equal(capOf(source, javascriptCap).kind, 'within')
    assert.equal(capOf(source, typescriptCap).kind, 'within')
  })
}

test('a source that is too long or has too many tokens does not pass the cap, and gets the reason', () => {
  const long = capOf(' '.repeat(sourceUnitsMax + 1))
  assert.deepEqual(long, {
    kind: 'over',
    what: 'length',
    is: sourceUnitsMax + 1,
    max: sourceUnitsMax,
  })
  const tokens = capOf(many('a;', tokensMax / 2 + 1))
  assert.equal(tokens.kind === 'over' && tokens.what, 'tokens')
})

test('tokens are counted; a nesting level weighs four, and a chain link one', () => {
  assert.deepEqual(capOf('[[1]]'), { kind: 'within', tokens: 5, weight: 8 })
  assert.deepEqual(capOf('a + b + c'), { kind: 'within', tokens: 5, weight: 2 })
})
