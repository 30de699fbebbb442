import type { Case, End } from '../case.ts'

const js = String.raw

/** Attacks by output: its amount, its shape, its timing. */
export const output: readonly Case[] = [
  flood(
    'endless-lines',
    'a console that is never full',
    js`for (;;) console.log('x'.repeat(1000))`,
  ),
  flood(
    'endless-short-lines',
    'the overhead is in the number of lines',
    js`for (let i = 0; ; i++) console.log(i)`,
  ),
  flood(
    'endless-errors',
    'the same on the other stream',
    js`for (;;) console.error('x'.repeat(1000))`,
  ),
  flood('one-huge-line', 'one line of 100 MB', js`console.log('x'.repeat(1e8)); return 1`, [
    'ok',
    'error',
    'limit',
    'timeout',
  ]),
  flood(
    'one-huge-rope',
    'one line that is a rope',
    js`let s = 'ab'; for (let i = 0; i < 27; i++) s += s; console.log(s); return 1`,
    ['ok', 'error', 'limit', 'timeout'],
  ),
  flood(
    'many-arguments',
    'one line of a million arguments',
    js`console.log(...new Array(1e5).fill('x'.repeat(100))); return 1`,
    ['ok', 'error', 'limit', 'timeout'],
  ),
  flood(
    'deep-argument',
    'an argument that overflows a recursive writer',
    js`let o = {}; for (let i = 0; i < 1e5; i++) o = { o }; console.log(o); return 1`,
    ['ok', 'error', 'limit', 'timeout'],
  ),
  flood(
    'cyclic-argument',
    'an argument with cycles',
    js`const o = { s: new Set(), m: new Map() }; o.o = o; o.s.add(o); o.m.set(o, o); console.log(o, [o]); return 1`,
    ['ok', 'error'],
  ),
  flood(
    'huge-array-argument',
    'an argument whose text is long',
    js`console.log(new Array(1e7).fill(1)); return 1`,
    ['ok', 'error', 'limit', 'timeout'],
  ),
  flood(
    'sparse-array-argument',
    'an argument whose length says four billion',
    js`const a = []; a.length = 2 ** 32 - 1; console.log(a); return 1`,
    ['ok', 'error', 'limit', 'timeout'],
  ),
  flood(
    'aliased-argument',
    'a small object whose text is huge',
    js`let o = 'x'; for (let i = 0; i < 40; i++) o = [o, o]; console.log(JSON.parse('1'), o); return 1`,
    ['ok', 'error', 'limit', 'timeout'],
  ),
  flood(
    'format-directives',
    'directives of a formatter with the wrong arguments',
    js`console.log('%s%d%i%f%j%o%O%c%%%'.repeat(10000), ...new Array(1000).fill(Symbol.iterator)); console.log('%s', Symbol('x'), 1n, { [Symbol.toPrimitive]() { throw 1 } }); return 1`,
    ['ok', 'error', 'limit', 'timeout'],
  ),
  flood(
    'terminal-sequences',
    'sequences that steer a terminal',
    js`console.log('\u001b]52;c;b3duZWQ=\u0007\u001b[2J\u001b[1;1H\u001bPq\u001b\\'); return 1`,
    ['ok', 'refused', 'error'],
  ),
  flood(
    'lone-surrogates',
    'text that is no valid Unicode, cut between chunks',
    js`for (let i = 0; i < 100; i++) console.log('\ud83d'.repeat(i) + '\ude00'.repeat(65536 - i)); return 1`,
    ['ok', 'error', 'limit', 'timeout'],
  ),
  flood(
    'after-the-result',
    'output after the answer',
    js`setTimeout(() => console.log('ESC' + 'APED:' + 'late'), 20); setTimeout(() => { for (;;) console.log('x') }, 25); return 1`,
    ['ok', 'timeout', 'limit', 'error'],
  ),
  flood(
    'from-microtasks',
    'output from a queue that never ends',
    js`const f = () => { console.log('x'.repeat(100)); Promise.resolve().then(f) }; f(); await new Promise(() => 0)`,
  ),
  flood(
    'from-timers',
    'output from many timers',
    js`for (let i = 0; i < 1e4; i++) setInterval(() => console.log('x'.repeat(1000)), 0); await new Promise(() => 0)`,
  ),
  flood(
    'from-getters',
    'output within output',
    js`let n = 0; const o = { get x() { if (n++ < 1e5) console.log(o); return 1 }, toString() { if (n++ < 1e5) console.log(String(o)); return 'x' }, toJSON() { if (n++ < 1e5) console.log(o); return 1 } }; console.log(o, String(o)); return 1`,
    ['ok', 'error', 'limit', 'timeout'],
  ),
  flood(
    'console-replaced',
    'the console is replaced and removed',
    js`const log = console.log; delete globalThis.console; globalThis.console = new Proxy({}, { get() { throw 1 } }); for (let i = 0; i < 10; i++) log('x'); return 1`,
    ['ok', 'error'],
  ),
  flood(
    'console-every-method',
    'methods of a console that are rarely thought of',
    js`for (const k of ['table', 'dir', 'dirxml', 'group', 'groupEnd', 'time', 'timeEnd', 'timeLog', 'count', 'countReset', 'assert', 'trace', 'clear', 'profile', 'profileEnd', 'timeStamp', 'context', '_stdout', '_stderr', 'Console', 'createTask', 'memory']) for (let i = 0; i < 50; i++) try { console[k]?.('x'.repeat(1e5), new Array(100).fill({ a: 1 })) } catch {} return 1`,
    ['ok', 'error', 'limit', 'timeout'],
  ),
  flood(
    'calls-flood',
    'capability calls without waiting for the answer',
    js`for (;;) call('missing', ['x'.repeat(1000)]).catch(() => 0)`,
  ),
  flood(
    'calls-huge-arguments',
    'arguments of 100 MB',
    js`await call('missing', ['x'.repeat(1e8)])`,
    ['error', 'limit', 'timeout'],
  ),
  flood('calls-huge-name', 'a name of 100 MB', js`await call('x'.repeat(1e8), [])`, [
    'error',
    'limit',
    'timeout',
  ]),
]

function flood(
  name: string,
  because: string,
  code: string,
  expect: readonly End[] = ['ok', 'error', 'limit', 'timeout'],
): Case {
  return { name: `output-${name}`, family: 'output', because, code, expect }
}
