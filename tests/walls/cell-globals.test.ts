import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { inCell, valueOf } from './in-cell.ts'

const OWN = [
  'AbortController',
  'AbortSignal',
  'DOMException',
  'Event',
  'EventTarget',
  'TextDecoder',
  'TextEncoder',
  'URL',
  'URLSearchParams',
  'atob',
  'btoa',
  'call',
  'clearInterval',
  'clearTimeout',
  'console',
  'crypto',
  'input',
  'performance',
  'queueMicrotask',
  'setInterval',
  'setTimeout',
  'structuredClone',
]
const LANGUAGE = [
  'AggregateError',
  'Array',
  'ArrayBuffer',
  'AsyncDisposableStack',
  'Atomics',
  'BigInt',
  'BigInt64Array',
  'BigUint64Array',
  'Boolean',
  'DataView',
  'Date',
  'DisposableStack',
  'Error',
  'EvalError',
  'Float16Array',
  'Float32Array',
  'Float64Array',
  'Function',
  'Infinity',
  'Int16Array',
  'Int32Array',
  'Int8Array',
  'Intl',
  'Iterator',
  'JSON',
  'Map',
  'Math',
  'NaN',
  'Number',
  'Object',
  'Promise',
  'Proxy',
  'RangeError',
  'ReferenceError',
  'Reflect',
  'RegExp',
  'Set',
  'String',
  'SuppressedError',
  'Symbol',
  'SyntaxError',
  'Temporal',
  'TypeError',
  'URIError',
  'Uint16Array',
  'Uint32Array',
  'Uint8Array',
  'Uint8ClampedArray',
  'WeakMap',
  'WeakSet',
  'decodeURI',
  'decodeURIComponent',
  'encodeURI',
  'encodeURIComponent',
  'escape',
  'eval',
  'globalThis',
  'isFinite',
  'isNaN',
  'parseFloat',
  'parseInt',
  'undefined',
  'unescape',
]

test('the globals are exactly those of ECMAScript and the published list', async () => {
  const names = (await valueOf('return Reflect.ownKeys(globalThis).map(String)')) as string[]
  assert.deepEqual(names.toSorted(), [...OWN, ...LANGUAGE].toSorted())
})

test('the globals in the documents are those of a job, with and without grants', async () => {
  const text = readFileSync(new URL('../../docs/job.md', import.meta.url), 'utf8')
  const told = (start: string, end: string) => {
    const [, after = ''] = text.split(start)
    return [...(after.split(end)[0] ?? '').matchAll(/`([\w$]+)`/g)].map(([, name]) => name ?? '')
  }
  const all = 'return Reflect.ownKeys(globalThis).map(String)'
  const names = (await valueOf(all)) as string[]
  const more = async (granted: object) =>
    ((await valueOf(all, granted)) as string[]).filter((name) => !names.includes(name))
  const [networks, webAssembly] = [
    await more({ capabilities: ['mayfly.fetch'] }),
    await more({ webAssembly: true }),
  ]
  const outside = Reflect.ownKeys(globalThis).map(String)
  assert.deepEqual(told('has these globals:', '.\n').toSorted(), OWN)
  assert.deepEqual(told('A job with a network also has', ';'), networks)
  assert.deepEqual(told('was granted `webassembly` also has', '.'), webAssembly)
  for (const name of told('Of the language it has no', ':'))
    assert.ok(outside.includes(name) && !names.includes(name), name)
  for (const name of ['crypto', 'performance']) {
    const own = `return [${name}, Object.getPrototypeOf(${name})].filter((one) => one !== Object.prototype)
      .flatMap((one) => Reflect.ownKeys(one)).filter((key) => typeof key === 'string' && key !== 'constructor')`
    assert.deepEqual(told(`\`${name}\` is`, name === 'crypto' ? ';' : '.'), await valueOf(own))
  }
})

test('the globals are the same in every entry', async () => {
  const code = 'Reflect.ownKeys(globalThis).map(String)'
  const inBody = await valueOf(`return ${code}`)
  const same = [
    await valueOf(`() => ${code}`, { entry: 'function' }),
    await valueOf(`export default ${code}`, { entry: 'module' }),
    await valueOf(`exports.handler = () => ${code}`, { entry: 'handler' }),
  ]
  for (const names of same) assert.deepEqual(names, inBody)
})

test('a handler with a callback ends by it, whatever it returns beside it', async () => {
  for (const body of ['return setTimeout(done, 1, null, 5)', 'done(null, 5); return 7'])
    assert.equal(
      await valueOf(`exports.handler = (event, context, done) => { ${body} }`, {
        entry: 'handler',
      }),
      5,
    )
})

test('S3-6 to S3-9: file system, network, process and module loader are undefined', async () => {
  const names = [
    'fs',
    'process',
    'require',
    'fetch',
    'Deno',
    'Buffer',
    'global',
    'XMLHttpRequest',
    'WebSocket',
    'module',
    'exports',
  ]
  for (const name of names) {
    assert.equal(await valueOf(`return typeof ${name}`), 'undefined', name)
    const ran = await inCell(`${name}.x`)
    assert.equal(ran.error?.name, 'ReferenceError')
    assert.match(ran.error?.message ?? '', new RegExp(`^${name} is not defined`))
  }
})

test('S3-9: a dynamic import is refused, of built-ins and of any other module', async () => {
  for (const name of [
    'fs',
    'node:child_process',
    './job.js',
    'data:text/javascript,1',
    'https://example.com/a.js',
  ]) {
    const ran = await inCell(`return await import(${JSON.stringify(name)})`)
    assert.equal(ran.status, 'error')
    assert.equal(ran.error?.code, 'IMPORT_REFUSED')
    assert.match(ran.error?.message ?? '', /^Cannot import at run time/)
  }
})

test('S3-9: a dynamic import at the top of a module, and one of a file, is refused by name and reported', async () => {
  const importing = "await import('node:fs')"
  const jobs = [
    { code: importing, entry: 'module', files: {} },
    { code: "import './own.js'", entry: 'module', files: { 'own.js': importing } },
    {
      code: "import own from './own.js'; export default () => own()",
      entry: 'module',
      files: { 'own.js': `export default async () => { ${importing} }` },
    },
    {
      code: "exports.handler = () => require('./own.cjs')()",
      entry: 'handler',
      files: { 'own.cjs': `module.exports = async () => { ${importing} }` },
    },
  ] as const
  for (const { code, ...asked } of jobs) {
    const names: string[] = []
    const { error } = await inCell(code, { ...asked, refused: (name) => names.push(name) })
    assert.equal(error?.code, 'IMPORT_REFUSED', `${code}: ${JSON.stringify(error)}`)
    assert.deepEqual(names, ['import'], code)
  }
})

test('S3-9: a dynamic import in code made by eval or Function, or with a comment in it, is refused by name and reported', async () => {
  const sources = [
    `return new Function("return imp" + "ort('node:fs')")()`,
    `return await eval("im" + "port('node:fs')")`,
    `return (0, eval)("im" + "port('node:fs')")`,
    `return (async () => {}).constructor("return await im" + "port('node:fs')")()`,
    `eval("im" + "port('node:fs')"); return 1`,
    `return import /* a comment */ ('node:fs')`,
    `return import.source('node:fs')`,
  ]
  for (const code of sources) {
    const names: string[] = []
    const { error } = await inCell(code, { refused: (name) => names.push(name) })
    assert.equal(error?.code, 'IMPORT_REFUSED', `${code}: ${JSON.stringify(error)}`)
    assert.match(error?.stack ?? '', /^Error: Cannot import at run time/)
    assert.deepEqual(names, ['import'], code)
  }
  const own = await inCell('throw new Error("Not supported")')
  assert.equal(own.error?.code, 'USER_ERROR')
})

test('WebAssembly, shared memory, weak references and finalisers cannot be reached', async () => {
  const code = `
    const gone = [typeof WebAssembly, typeof SharedArrayBuffer, typeof WeakRef, typeof FinalizationRegistry, typeof Atomics.waitAsync]
    for (const name of ['WebAssembly', 'SharedArrayBuffer', 'WeakRef']) {
      try { (0, eval)(name); gone.push(name) } catch (e) { gone.push(e.name) }
    }
    return gone`
  const gone = (await valueOf(code)) as string[]
  assert.deepEqual([...new Set(gone)], ['undefined', 'ReferenceError'])
})

test('WebAssembly is defined if it is granted, without the promise integration', async () => {
  const code = `
    const bytes = Uint8Array.from([0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 127, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 6, 1, 4, 0, 65, 42, 11])
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes))
    return [exports.f(), typeof WebAssembly.promising, typeof WebAssembly.Suspending]`
  assert.deepEqual(await valueOf(code, { webAssembly: true }), [42, 'undefined', 'undefined'])
})

test('all clocks have a resolution of one millisecond', async () => {
  const code = `
    const steps = new Set()
    for (const end = Date.now() + 20; Date.now() < end; ) {
      steps.add(performance.now() % 1).add(Date.now() % 1)
      steps.add(Number(Temporal.Now.instant().epochNanoseconds % 1_000_000n))
      steps.add(Temporal.Now.plainTimeISO().microsecond + Temporal.Now.plainTimeISO().nanosecond)
      steps.add(Temporal.Now.zonedDateTimeISO().microsecond + Temporal.Now.plainDateTimeISO('UTC').nanosecond)
      steps.add(new Event('x').timeStamp % 1)
    }
    return [...steps]`
  assert.deepEqual(await valueOf(code), [0])
})

test('Temporal is the built-in of V8, with only its clock replaced', async () => {
  const code = `
    const day = Temporal.PlainDate.from('2024-02-28').add({ days: 2 }).toString()
    const now = Temporal.Now
    const between = () => Math.abs(Date.now() - now.instant().epochMilliseconds)
    return [day, now.plainDateISO('UTC') instanceof Temporal.PlainDate, Math.min(between(), between(), between()) < 50]`
  assert.deepEqual(await valueOf(code), ['2024-03-01', true, true])
})

test('performance.now starts at the release of the job', async () => {
  // The minimum of several runs, because a stall does not repeat each time.
  const read = () => valueOf('return performance.now()') as Promise<number>
  const told = [await read(), await read(), await read()]
  assert.ok(Math.min(...told) < 100, told.join())
})

test('timers run in order of time, then of creation, with microtasks between them', async () => {
  // Tens of milliseconds apart, so that a stall between two calls does not change their order.
  const code = `
    const log = []
    const at = (name) => () => { log.push(name); Promise.resolve().then(() => log.push(name + ' micro')) }
    setTimeout(at('b'), 60); setTimeout(at('c'), 60); setTimeout(at('a'), 20)
    const cleared = setTimeout(at('never'), 20); clearTimeout(cleared)
    queueMicrotask(() => log.push('queued'))
    let count = 0
    await new Promise((done) => { const id = setInterval((x) => { log.push('tick ' + x); if (++count === 2) { clearInterval(id); done() } }, 200, 'x') })
    return log`
  assert.deepEqual(await valueOf(code), [
    'queued',
    'a',
    'a micro',
    'b',
    'b micro',
    'c',
    'c micro',
    'tick x',
    'tick x',
  ])
})

test('console writes to stdout and stderr in the format of Node', async () => {
  const code = `
    console.log('%s is %d years and %i, %f, %j %o %%', 'Bob', 42, 42.9, '1.5', { a: 1 }, [1], 'rest', { b: 2 })
    console.info('i'); console.debug('d'); console.warn('w'); console.error('e')
    console.log({ a: 1, 'b c': 'it\\'s', n: null, u: undefined, f() {}, k: class K {}, s: Symbol('s'), big: 1n, neg: -0 })
    console.log([1, 'two', [3, [4, [5]]]], new Map([['k', { v: 1 }]]), new Set([1]), new Date(0), /re/g, new Uint8Array(2))
    console.log(Object.create(null), new (class Foo { x = 1 })(), [,1], new Error('m').message)
    console.group('G'); console.log('in'); console.groupEnd(); console.log('out')
    console.count(); console.count('c'); console.count(); console.countReset(); console.count()
    console.assert(true, 'no'); console.assert(false, 'yes')
    console.dir({ a: { b: { c: { d: 1 } } } })`
  const ran = await inCell(code)
  assert.equal(ran.status, 'ok', JSON.stringify(ran.error))
  assert.deepEqual(ran.stdout.split('\n'), [
    'Bob is 42 years and 42, 1.5, {"a":1} [ 1 ] % rest { b: 2 }',
    'i',
    'd',
    '{',
    '  a: 1,',
    `  'b c': "it's",`,
    '  n: null,',
    '  u: undefined,',
    '  f: [Function: f],',
    '  k: [class K],',
    '  s: Symbol(s),',
    '  big: 1n,',
    '  neg: -0',
    '}',
    "[ 1, 'two', [ 3, [ 4, [Array] ] ] ] Map(1) { 'k' => { v: 1 } } Set(1) { 1 } 1970-01-01T00:00:00.000Z /re/g Uint8Array(2) [ 0, 0 ]",
    '[Object: null prototype] {} Foo { x: 1 } [ <1 empty item>, 1 ] m',
    'G',
    '  in',
    'out',
    'default: 1',
    'c: 1',
    'default: 2',
    'default: 1',
    '{ a: { b: { c: [Object] } } }',
    '',
  ])
  assert.equal(ran.stderr, 'w\ne\nAssertion failed: yes\n')
})

test('console prints getters without calling them, and circular and huge values within limits', async () => {
  const code = `
    let called = 0
    const odd = { get a() { called++; return 1 }, set b(v) {} }; odd.self = odd
    console.log(odd)
    console.log(new Proxy({}, { ownKeys() { throw 1 } }), new Array(1e6).fill(1), 'x'.repeat(1e6), [['y'.repeat(1e6)]])
    return called`
  const ran = await inCell(code)
  assert.equal(ran.resultText, '0')
  assert.match(ran.stdout, /a: \[Getter\], b: \[Setter\], self: \[Circular \*1\]/)
  assert.match(ran.stdout, /^\[unreadable\]/m)
  assert.match(ran.stdout, /\.\.\. 999900 more items/)
  const text = 'x'.repeat(1e6)
  assert.ok(ran.stdout.includes(text), 'a printed text is complete')
  assert.ok(ran.stdout.length - text.length < 200_000, `${ran.stdout.length}`)
})

test('console.table draws a box and console.time counts whole milliseconds', async () => {
  const ran = await inCell(
    'console.table([{ a: 1, b: "x" }, { a: 2 }]); console.time("t"); console.timeEnd("t"); console.trace("here")',
  )
  const rows = ran.stdout.split('\n')
  assert.equal(rows[1], '│ (index) │ a │ b   │')
  assert.equal(rows[3], "│ 0       │ 1 │ 'x' │")
  assert.equal(rows[4], '│ 1       │ 2 │     │')
  assert.match(rows[6] ?? '', /^t: \d+ms$/)
  assert.match(ran.stderr, /^Trace: here\n {4}at job\.js:1:\d+/)
})

test('structuredClone copies structured data, circular references and buffers, and refuses other values', async () => {
  const code = `
    const source = { date: new Date(5), map: new Map([[1, new Set(['x'])]]), re: /a/gi, list: [1, , 3], nested: { u: undefined, n: -0 },
      bytes: new Uint8Array([1, 2, 3]).subarray(1), box: Object('s'), error: new RangeError('r') }
    source.self = source
    const copy = structuredClone(source)
    const moved = new ArrayBuffer(4); const taken = structuredClone(moved, { transfer: [moved] })
    const refused = []
    for (const bad of [() => 1, Symbol(), Promise.resolve(), new WeakMap()]) {
      try { structuredClone({ bad }) } catch (e) { refused.push(e.name + e.code) }
    }
    return [copy !== source, copy.self === copy, copy.date.getTime(), [...copy.map.get(1)], String(copy.re), 1 in copy.list, 'u' in copy.nested,
      Object.is(copy.nested.n, -0), [...copy.bytes], copy.bytes.byteOffset, copy.box + '', copy.error instanceof RangeError && copy.error.message,
      taken.byteLength, moved.byteLength, refused]`
  assert.deepEqual(await valueOf(code), [
    true,
    true,
    5,
    ['x'],
    '/a/gi',
    false,
    true,
    true,
    [2, 3],
    1,
    's',
    'r',
    4,
    0,
    ['DataCloneError25', 'DataCloneError25', 'DataCloneError25', 'DataCloneError25'],
  ])
})

test('text is encoded and decoded as Node does it', async () => {
  const texts = ['', 'plain', 'é€😀', '\ud800 lone \udc00', '\ufeffmark']
  const code = `return input.map((text) => [...new TextEncoder().encode(text)])`
  assert.deepEqual(
    await valueOf(code, { input: texts }),
    texts.map((text) => [...new TextEncoder().encode(text)]),
  )
  const bytes = [
    [0xef, 0xbb, 0xbf, 0x61],
    [0xf0, 0x9f, 0x98, 0x80],
    [0xc0, 0x80, 0xed, 0xa0, 0x80, 0xf5],
    [0xe2, 0x82],
    [0xf0, 0x90, 0x41],
    [0x80, 0x9f, 0xff, 0x41],
    [0x3d, 0xd8, 0x00, 0xde, 0x41, 0x00, 0x00],
  ]
  for (const label of ['utf-8', 'utf-16le', 'latin1']) {
    const decode =
      'return input.map((list) => new TextDecoder(' +
      JSON.stringify(label) +
      ').decode(new Uint8Array(list)))'
    const expected = bytes.map((list) => new TextDecoder(label).decode(new Uint8Array(list)))
    assert.deepEqual(await valueOf(decode, { input: bytes }), expected, label)
  }
})

test('TextDecoder streams, is fatal when asked, and refuses unknown encodings', async () => {
  const code = `
    const d = new TextDecoder(); const parts = [[0xe2], [0x82, 0xac], [0xf0, 0x9f], [0x98, 0x80]].map((b) => d.decode(new Uint8Array(b), { stream: true }))
    const errors = []
    for (const run of [() => new TextDecoder('utf-8', { fatal: true }).decode(new Uint8Array([255])), () => new TextDecoder('utf-7')]) {
      try { run() } catch (e) { errors.push(e.name) }
    }
    const into = new Uint8Array(4); const count = new TextEncoder().encodeInto('é€', into)
    return [parts, errors, count, [...into], new TextDecoder('ISO-8859-1').encoding]`
  assert.deepEqual(await valueOf(code), [
    ['', '€', '', '😀'],
    ['TypeError', 'RangeError'],
    { read: 1, written: 2 },
    [0xc3, 0xa9, 0, 0],
    'windows-1252',
  ])
})

test('atob and btoa are as in Node', async () => {
  const code = `
    const errors = []
    for (const run of [() => btoa('€'), () => atob('a'), () => atob('a=b'), () => atob('****')]) { try { run() } catch (e) { errors.push(e.name) } }
    return [btoa('héllo'), atob('aOls bG8='), atob('aGk'), btoa(''), errors]`
  assert.deepEqual(await valueOf(code), [
    btoa('héllo'),
    'héllo',
    'hi',
    '',
    Array(4).fill('InvalidCharacterError'),
  ])
})

test('URL and URLSearchParams parse, change and print as in Node', async () => {
  const code = `
    const url = new URL('../b?x=1&y=%C3%A9#h', 'https://user:pw@EXAMPLE.com:8443/a/c')
    url.searchParams.append('z', 'a b'); url.searchParams.delete('x'); url.pathname = '/new path'; url.hash = ''
    const params = new URLSearchParams([['a', '1'], ['b', '2'], ['a', '3']])
    params.sort(); params.set('a', '9')
    const errors = []
    for (const run of [() => new URL('nope'), () => new URL()]) { try { run() } catch (e) { errors.push(e.name) } }
    return [url.href, url.origin, url.host, url.search, JSON.stringify({ url }), [...params], String(new URLSearchParams({ q: 'é&' })),
      params.has('b', '2'), params.getAll('a'), URL.canParse('x:y'), URL.parse('nope'), errors, params.size]`
  assert.deepEqual(await valueOf(code), [
    'https://user:pw@example.com:8443/new%20path?y=%C3%A9&z=a+b',
    'https://example.com:8443',
    'example.com:8443',
    '?y=%C3%A9&z=a+b',
    '{"url":"https://user:pw@example.com:8443/new%20path?y=%C3%A9&z=a+b"}',
    [
      ['a', '9'],
      ['b', '2'],
    ],
    'q=%C3%A9%26',
    true,
    ['9'],
    true,
    null,
    ['TypeError', 'TypeError'],
    2,
  ])
})

test('a URL of a mebibyte is refused, not parsed', async () => {
  const ran = await inCell('new URL("https://example.com/" + "a".repeat(2 ** 20))')
  assert.equal(ran.error?.name, 'RangeError')
})

test('crypto fills integer arrays with random values, up to 64 KiB a call', async () => {
  const code = `
    const a = crypto.getRandomValues(new Uint32Array(8)), b = crypto.getRandomValues(new Uint8Array(65_536))
    const errors = []
    for (const bad of [new Uint8Array(65_537), new Float64Array(1), [1]]) { try { crypto.getRandomValues(bad) } catch (e) { errors.push(e.name) } }
    return [new Set(a).size > 1, new Set(b).size, errors, crypto.randomUUID()]`
  const [isVaried, values, errors, uuid] = (await valueOf(code)) as [
    boolean,
    number,
    string[],
    string,
  ]
  assert.deepEqual(
    [isVaried, values, errors],
    [true, 256, ['QuotaExceededError', 'TypeMismatchError', 'TypeMismatchError']],
  )
  assert.match(uuid, /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/)
})

test('events are dispatched in order, once, until stopped', async () => {
  const code = `
    const log = [], target = new EventTarget()
    target.addEventListener('x', (e) => log.push(['first', e.type, e.target === target]), { once: true })
    target.addEventListener('x', { handleEvent(e) { log.push('object'); e.preventDefault() } })
    const controller = new AbortController()
    target.addEventListener('x', () => log.push('until abort'), { signal: controller.signal })
    const results = [target.dispatchEvent(new Event('x', { cancelable: true })), target.dispatchEvent(new Event('x'))]
    controller.abort(); target.dispatchEvent(new Event('x'))
    return [log, results]`
  assert.deepEqual(await valueOf(code), [
    [['first', 'x', true], 'object', 'until abort', 'object', 'until abort', 'object'],
    [false, true],
  ])
})

test('abort signals abort once, with a reason, by timeout and by any of several signals', async () => {
  const code = `
    const c = new AbortController(); const seen = []
    c.signal.onabort = () => seen.push('on'); c.signal.addEventListener('abort', () => seen.push('listener'))
    const any = AbortSignal.any([c.signal, AbortSignal.timeout(1e6)])
    c.abort('why'); c.abort('again')
    const timed = AbortSignal.timeout(2); await new Promise((r) => timed.addEventListener('abort', r))
    let illegal; try { new AbortSignal() } catch (e) { illegal = e.name }
    let thrown; try { AbortSignal.abort().throwIfAborted() } catch (e) { thrown = [e.name, e instanceof DOMException, e instanceof Error, e.code] }
    return [seen, c.signal.reason, any.aborted, any.reason, timed.reason.name, illegal, thrown]`
  assert.deepEqual(await valueOf(code), [
    ['on', 'listener'],
    'why',
    true,
    'why',
    'TimeoutError',
    'TypeError',
    ['AbortError', true, true, 20],
  ])
})

test('eval and the Function constructor work, inside the same realm', async () => {
  assert.deepEqual(
    await valueOf('return [eval("1 + 1"), new Function("return this === globalThis")()]'),
    [2, true],
  )
})

test('AbortSignal.any follows the signals of any iterable, and structuredClone keeps a DOMException', async () => {
  const code = `
    const c = new AbortController()
    const any = AbortSignal.any(new Set([new AbortController().signal, c.signal]))
    const before = any.aborted
    c.abort('why')
    let refused
    try { AbortSignal.any(7) } catch (e) { refused = e.name }
    const copy = structuredClone(new DOMException('text', 'AbortError'))
    return [before, any.aborted, any.reason, refused, copy instanceof DOMException, copy.name, copy.message, copy.code]`
  const expected = [false, true, 'why', 'TypeError', true, 'AbortError', 'text', 20]
  assert.deepEqual(await valueOf(code), expected)
})
