import assert from 'node:assert/strict'
import { suite } from 'node:test'
import { test } from '../fixtures/drawn.ts'
import { isMissing, stands, unable } from './process-stands.ts'
import { inProcess, type ProcessJob } from './process-wall.ts'

const node = (job: ProcessJob) => inProcess({ program: 'node' }, job)
const value = async (job: ProcessJob) => {
  const end = await node(job)
  assert.equal(end.head.status, 'ok', JSON.stringify(end.head) + end.stderr)
  return end.value
}

suite('A job of language "node" in a process wall', { skip: unable() }, () => {
  for (const { title, wish } of stands)
    test(`${title}: a module is called with its input`, async (t) => {
      if (isMissing(t, wish)) return
      const { head, value, stdout, stderr } = await inProcess(
        { program: 'node', ...wish },
        { code: 'export default (input) => { console.log("hi"); return input * 2 }', input: 21 },
      )
      assert.deepEqual([head.status, value, stdout, stderr], ['ok', 42, 'hi\n', ''])
    })

  test('every entry', async () => {
    assert.equal(await value({ code: 'export default 7' }), 7)
    assert.equal(await value({ code: 'module.exports = (n) => n + 1', input: 1 }), 2)
    assert.equal(await value({ entry: 'function', code: '(n) => n + 1', input: 1 }), 2)
    assert.equal(
      await value({
        entry: 'function',
        code: 'async (n) => require("node:path").join("a", n)',
        input: 'b',
      }),
      'a/b',
    )
    assert.deepEqual(
      await value({
        entry: 'handler',
        code: 'exports.handler = async (event, context) => [event, context.getRemainingTimeInMillis() > 0]',
        input: { a: 1 },
      }),
      [{ a: 1 }, true],
    )
    assert.equal(
      await value({
        entry: 'handler',
        code: 'exports.handler = (event, context, done) => { setTimeout(done, 1, null, event) }',
        input: 5,
      }),
      5,
    )
  })

  test('a handler with a callback ends by it, whatever it returns beside it', async () => {
    for (const body of ['return setTimeout(done, 1, null, event)', 'done(null, event); return 7'])
      assert.equal(
        await value({
          entry: 'handler',
          code: `exports.handler = (event, context, done) => { ${body} }`,
          input: 5,
        }),
        5,
      )
    const code = 'exports.handler = (event, context, done) => Promise.resolve(event)'
    assert.equal(await value({ entry: 'handler', code, input: 5 }), 5)
  })

  test('a value that a CommonJS program returns is its result, also by a promise', async () => {
    const required = "const { basename } = require('node:path'); return basename('/a/b')"
    assert.equal(await value({ code: required }), 'b')
    assert.equal(await value({ code: '\n  const one = 1\n  return one\n' }), 1)
    assert.equal(await value({ code: 'if (process) return 3; else { return 4 }' }), 3)
    assert.deepEqual(await value({ code: 'if (process) \nreturn (async () => [1, 2])()' }), [1, 2])
    const written = "require('node:fs').writeSync(3, '1')\nreturn 2"
    assert.equal(await value({ code: written }), 1)
    const { head } = await node({ code: 'return Promise.reject(new RangeError("no row"))' })
    assert.deepEqual([head.status, head.error?.message], ['error', 'no row'])
  })

  test('a thrown value that is no Error is shown in the message, also one of a promise', async () => {
    for (const code of ['throw { a: [1n] }', 'Promise.reject({ a: [1n] })']) {
      const { head } = await node({ code })
      assert.equal(head.error?.message, 'A value that is no Error was thrown: { a: [ 1n ] }')
    }
  })

  test('a program is the main module, reads its input and writes its result', async () => {
    const commonjs = `
      const fs = require('node:fs')
      const input = JSON.parse(fs.readFileSync(0, 'utf8'))
      fs.writeSync(3, JSON.stringify([input, require.main === module, process.argv.length, process.cwd()]))`
    assert.deepEqual(await value({ code: commonjs, input: 'in' }), ['in', true, 2, '/work'])
    const module = `
      import fs from 'node:fs'
      let text = ''
      for await (const chunk of process.stdin) text += chunk
      fs.writeFileSync(process.env.MAYFLY_RESULT, JSON.stringify([text, import.meta.main]))`
    assert.deepEqual(await value({ code: module, input: 1 }), ['1', true])
    assert.equal(await value({ code: 'console.log(1)' }), null)
    const replaced = 'rm $MAYFLY_RESULT; echo 7 > $MAYFLY_RESULT'
    assert.equal(await value({ language: 'sh', code: replaced }), 7)
    assert.equal(await value({ language: 'sh', code: 'rm $MAYFLY_RESULT; echo 8 >&3' }), 8)
    assert.equal(
      await value({ language: 'sh', code: 'rm $MAYFLY_RESULT; mkfifo $MAYFLY_RESULT' }),
      null,
    )
  })

  test('files and packages of the job are found', async () => {
    const files = [
      { path: 'lib/half.js', content: 'module.exports = (n) => n / 2' },
      { path: 'twice.mjs', content: 'export const twice = (n) => n * 2' },
      { path: 'data.json', content: '{"n": 5}' },
      { path: 'node_modules/pack/package.json', content: '{"name":"pack","main":"m.js"}' },
      { path: 'node_modules/pack/m.js', content: 'exports.n = 100' },
    ]
    const module = `
      import { twice } from './twice.mjs'
      import half from './lib/half.js'
      import data from './data.json' with { type: 'json' }
      import { n } from 'pack'
      export default async () => [twice(2), half(2), data.n, n, (await import('./twice.mjs')).twice(4)]`
    assert.deepEqual(await value({ code: module, files }), [4, 1, 5, 100, 8])
    const commonjs = `module.exports = () => [require('./lib/half')(8), require('pack').n]`
    assert.deepEqual(await value({ code: commonjs, files }), [4, 100])
  })

  test('threads, children, compression, files, sockets of its own network', async () => {
    const code = `
      import { Worker } from 'node:worker_threads'
      import { execFile, execFileSync, fork } from 'node:child_process'
      import { once } from 'node:events'
      import fs from 'node:fs'
      import http from 'node:http'
      import os from 'node:os'
      import zlib from 'node:zlib'
      import { promisify } from 'node:util'
      export default async () => {
        const worker = new Worker('require("node:worker_threads").parentPort.postMessage(6)', { eval: true })
        const [said] = await once(worker, 'message')
        fs.writeFileSync('child.cjs', 'process.send(process.argv.length)')
        const [sent] = await once(fork('child.cjs'), 'message')
        const { stdout } = await promisify(execFile)('node', ['-p', '1+1'])
        const server = http.createServer((_, res) => res.end('served')).listen(0, '127.0.0.1')
        await once(server, 'listening')
        const text = await (await fetch('http://127.0.0.1:' + server.address().port)).text()
        await fs.promises.mkdir('a/b', { recursive: true })
        await fs.promises.cp('child.cjs', 'a/b/copy')
        return [said, sent, stdout.trim(), execFileSync('/bin/echo', ['x']).toString().trim(), text,
          zlib.gunzipSync(zlib.gzipSync('z')).toString(), fs.readdirSync('a/b'), os.hostname(),
          typeof os.networkInterfaces(), os.cpus().length > 0]
      }`
    const first = [6, 2, '2', 'x', 'served', 'z']
    assert.deepEqual(await value({ code }), [...first, ['copy'], 'mayfly', 'object', true])
  })

  test('results that plain JSON would lose are tagged, and values that are not data are refused', async () => {
    const tagged = await node({
      code: 'export default () => ({ at: new Date(0), big: 7n, bytes: Buffer.from("hi"), set: new Set([NaN]), map: new Map([[1, -0]]), none: undefined })',
    })
    assert.equal(tagged.head.encoding, 'tagged')
    assert.deepEqual(tagged.value, {
      at: { $type: 'Date', value: '1970-01-01T00:00:00.000Z' },
      big: { $type: 'BigInt', value: '7' },
      bytes: { $type: 'bytes', value: 'aGk=' },
      set: { $type: 'Set', value: [{ $type: 'number', value: 'NaN' }] },
      map: { $type: 'Map', value: [[1, { $type: 'number', value: '-0' }]] },
      none: { $type: 'undefined' },
    })
    const codeOf = async (code: string, more = {}) =>
      (await node({ code, ...more })).head.error?.code
    assert.equal(
      await codeOf('export default () => { const a = {}; a.a = a; return a }'),
      'RESULT_CIRCULAR',
    )
    const opaque = ['new Headers()', 'new Map([[1, [1].values()]])', 'new (class A { #a = 1 })()']
    for (const none of ['() => 1', 'Symbol("s")', ...opaque])
      assert.equal(await codeOf(`export default () => ${none}`), 'RESULT_NOT_SERIALISABLE', none)
    assert.equal(
      await codeOf('export default async () => ({ all: [Promise.resolve(1)] })'),
      'RESULT_NOT_AWAITED',
    )
    const { value: failed } = await node({
      code: 'export default () => [new TypeError("x"), /a/u]',
    })
    const stack = 'TypeError: x\n    at default (job.js:1:23)'
    assert.deepEqual(failed, [
      { $type: 'Error', value: { name: 'TypeError', message: 'x', stack } },
      { $type: 'RegExp', value: { source: 'a', flags: 'u' } },
    ])
    assert.equal(
      await codeOf('export default () => "x".repeat(2000)', { resultBytesMax: 1000 }),
      'RESULT_TOO_LARGE',
    )
    assert.equal(
      await codeOf('require("node:fs").writeSync(3, "no json")', { entry: 'program' }),
      'RESULT_NOT_JSON',
    )
  })

  test('a job that removed the intrinsics still reports its end', async () => {
    const { head, value } = await node({
      code: `export default () => {
        JSON.stringify = Array.prototype.map = Buffer.from = Map.prototype.get = () => { throw 1 }
        return { a: [1] }
      }`,
    })
    assert.deepEqual([head.status, value], ['ok', { a: [1] }])
  })

  test('errors have their position in the source', async () => {
    const { head } = await node({ code: 'export default () => {\n  throw new TypeError("no")\n}' })
    assert.deepEqual(
      [head.error?.code, head.error?.name, head.error?.message],
      ['USER_ERROR', 'TypeError', 'no'],
    )
    assert.match(head.error?.stack ?? '', /job\.js:2:9/)
    assert.doesNotMatch(head.error?.stack ?? '', /opt\/mayfly|node:internal/)
    for (const code of ['const a = ;', 'import x from "node:fs"\nconst a = ;']) {
      const syntax = await node({ code })
      assert.equal(syntax.head.error?.code, 'SYNTAX_ERROR', JSON.stringify(syntax.head))
      const line = code.split('\n').length
      assert.match(syntax.head.error.stack ?? '', new RegExp(`job\\.js:${line}:11$`))
    }
    const program = await node({ code: 'let a = 1\nnull.x', entry: 'program' })
    assert.deepEqual([program.head.exitCode, program.head.error?.name], [1, 'TypeError'])
    assert.match(program.head.error?.stack ?? '', /job\.js:2:6/)
    assert.match(program.stderr, /TypeError/)
  })

  test('exit codes, unhandled rejections and promises that never settle are reported', async () => {
    const exit = await node({ code: 'console.log("out"); process.exit(3)' })
    assert.deepEqual([exit.head.exitCode, exit.head.error?.code, exit.stdout], [3, 'EXIT', 'out\n'])
    assert.equal((await node({ code: 'process.exitCode = 4' })).head.exitCode, 4)
    const rejected = await node({ code: 'Promise.reject(new RangeError("far"))', entry: 'program' })
    assert.deepEqual([rejected.head.exitCode, rejected.head.error?.message], [1, 'far'])
    const waits = await node({ code: 'export default () => new Promise(() => {})' })
    assert.equal(waits.head.status, 'error')
    const late = await node({
      code: 'process.on("exit", () => console.log("last")); process.removeAllListeners("x")',
    })
    assert.deepEqual([late.head.status, late.stdout], ['ok', 'last\n'])
  })

  test('a large output is complete before the end frame', async () => {
    const { stdout } = await node({
      code: 'for (let n = 0; n < 20000; n++) console.log("0123456789")',
    })
    assert.equal(stdout.length, 220_000)
    const code =
      'export default () => { process.stdout.write("x".repeat(3e6)); console.log("end") }'
    const { stdout: atOnce } = await node({ code })
    assert.deepEqual([atOnce.length, atOnce.slice(-4)], [3_000_004, 'end\n'])
  })

  test('a shell script: input, result, exit code, pipes', async () => {
    const sh = (code: string) => node({ language: 'sh', code, input: 'in' })
    const ok = await sh('cat; echo; ls / | grep -c usr; printf \'{"a":1}\' >&3; echo no >&2')
    assert.deepEqual([ok.value, ok.stdout, ok.stderr], [{ a: 1 }, '"in"\n1\n', 'no\n'])
    assert.equal((await sh('exit 5')).head.exitCode, 5)
    const killed = await sh('kill -9 $$')
    assert.deepEqual([killed.head.signal, killed.head.error?.code], ['SIGKILL', 'EXIT'])
    const tools = await sh(
      'mkdir d && cp job.sh d/x && cp -a d e && install -m 755 job.sh i && tar cf t.tar d && tar xf t.tar && gzip -k d/x && sort d/x | sha256sum > s && find d -name x | xargs wc -c > n && awk "{print 1}" n && sed -n 1p n > m && touch -d 2001-01-01 m && mv m mm && date -u +%Z',
    )
    assert.deepEqual([tools.head.status, tools.stdout], ['ok', '1\nUTC\n'], tools.stderr)
  })
})
