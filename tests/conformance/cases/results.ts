import assert from 'node:assert/strict'
import { decodeTagged } from '../../../src/lib/tagged.ts'
import { code, type Chapter } from '../case.ts'
import { messageIn } from '../stand.ts'
import type { Ended } from '../stand.ts'

export const results: Chapter = {
  name: 'Results',
  cases: [
    {
      title: 'Input and result are passed unchanged',
      needs: [{ guest: 'echo' }],
      async run(stand) {
        const input = { text: 'päivää 🐝', list: [1, -0.5, true, null], deep: { empty: {} } }
        const ended = await stand.run(stand.guests.echo, { input })
        assert.deepEqual(valueOf(ended), input)
        assert.equal(ended.end.encoding, 'json')
      },
    },
    {
      title: 'Values that plain JSON would lose are tagged, and round-trip',
      needs: [{ language: 'js' }, code],
      async run(stand) {
        const ended = await stand.run(`return {
          at: new Date(0), map: new Map([['a', new Set([1n])]]), bytes: new Uint8Array([0, 255]),
          numbers: [NaN, Infinity, -0], nothing: undefined, pattern: /x+/g,
        }`)
        assert.equal(ended.end.encoding, 'tagged')
        const value = valueOf(ended) as Record<string, unknown>
        assert.deepEqual(value, {
          at: new Date(0),
          map: new Map([['a', new Set([1n])]]),
          bytes: new Uint8Array([0, 255]),
          numbers: [NaN, Infinity, -0],
          nothing: undefined,
          pattern: { source: 'x+', flags: 'g' },
        })
      },
    },
    {
      title: 'An error as a result, or in it, keeps its name, message, stack and cause',
      needs: [{ language: 'js' }, code],
      async run(stand) {
        const ended = await stand.run(
          `return [new RangeError('no row', { cause: new Error('x') })]`,
        )
        const [read] = valueOf(ended) as readonly RangeError[]
        assert.ok(read instanceof Error && read.cause instanceof Error)
        assert.deepEqual(
          [read.name, read.message, read.cause.message],
          ['RangeError', 'no row', 'x'],
        )
        assert.match(read.stack ?? '', /^RangeError: no row\n +at .*:1:9\)?$/)
      },
    },
    {
      title: 'A guest that returns nothing has the result null',
      needs: [{ language: 'js' }, code],
      async run(stand) {
        for (const source of ['', 'return', 'return null']) {
          const { end } = await stand.run(source)
          assert.deepEqual([end.status, end.resultText, end.encoding], ['ok', 'null', 'json'])
        }
      },
    },
    {
      title: 'A result that is not data is an error of the guest, with a code',
      needs: [{ language: 'js' }, code],
      async run(stand) {
        for (const [source, expected] of notData) {
          const { end } = await stand.run(source)
          assert.deepEqual([source, end.status, end.error?.code], [source, 'error', expected])
          assert.equal(end.resultText, 'null')
        }
      },
    },
    {
      title: 'A result at the size limit arrives complete, and a larger one is an error',
      needs: [{ language: 'js' }, code],
      async run(stand) {
        const limits = { result: 100_000 }
        const whole = await stand.run(`return 'x'.repeat(99_998)`, { limits })
        assert.equal(whole.end.resultText.length, 100_000)
        const over = await stand.run(`return 'x'.repeat(99_999)`, { limits })
        assert.deepEqual([over.end.status, over.end.error?.code], ['error', 'RESULT_TOO_LARGE'])
        assert.equal(over.end.resultText, 'null')
      },
    },
    {
      title: 'An exception of the guest is its error, by name, with its message',
      needs: [{ guest: 'throws' }],
      async run(stand) {
        const { end } = await stand.run(stand.guests.throws)
        assert.equal(end.status, 'error')
        assert.deepEqual([end.error?.name, end.error?.message], ['TypeError', 'this went wrong'])
      },
    },
    {
      title: 'An error has its line in the source',
      needs: [{ language: 'js' }, code],
      async run(stand) {
        const { end } = await stand.run(`const two = 2\n\n  null.x`)
        assert.match(end.error?.stack ?? '', /:3:\d+/)
        assert.doesNotMatch(end.error?.stack ?? '', /node_modules|guest\/|isolated-vm/)
      },
    },
    {
      title: 'Any thrown value ends as an error, also one that resists inspection',
      needs: [{ language: 'js' }, code],
      async run(stand) {
        for (const source of thrown) {
          const { end } = await stand.run(source, { limits: { timeout: 2000 } })
          assert.ok(['error', 'timeout'].includes(end.status), `${source}: ${end.status}`)
          assert.equal(typeof end.error?.message, 'string')
        }
      },
    },
    {
      title: 'A source that does not parse is a syntax error with its position',
      needs: [{ language: 'js' }, code],
      async run(stand) {
        const { end } = await stand.run('const a = 1\nconst b = = 2')
        assert.deepEqual([end.status, end.error?.code], ['error', 'SYNTAX_ERROR'])
        assert.match(`${end.error?.message}${end.error?.stack}`, /:2:/)
      },
    },
    {
      title: 'A source that closes its wrapper function is not run',
      needs: [{ language: 'js' }, code],
      async run(stand) {
        const { end, stdout } = await stand.run(`}); console.log('out'); (function () {`)
        assert.equal(end.status, 'error')
        assert.equal(stdout, '')
      },
    },
  ],
}

const notData: readonly (readonly [source: string, code: string])[] = [
  ['const a = {}; a.self = a; return a', 'RESULT_CIRCULAR'],
  ['return () => 1', 'RESULT_NOT_SERIALISABLE'],
  ['return { deep: [Symbol("s")] }', 'RESULT_NOT_SERIALISABLE'],
  ['return new Map([[1, new WeakMap()]])', 'RESULT_NOT_SERIALISABLE'],
  ['return { all: [Promise.resolve(1)] }', 'RESULT_NOT_AWAITED'],
  ['let a = 1; for (let n = 0; n < 5000; n++) a = [a]; return a', 'RESULT_TOO_DEEP'],
]

const thrown = [
  'throw null',
  'throw undefined',
  'throw { toString() { throw 1 } }',
  'throw new Proxy({}, { get() { throw 1 }, getPrototypeOf() { throw 2 } })',
  'throw Object.defineProperty(new Error(), "message", { get() { for (;;) {} } })',
  'Error.prepareStackTrace = () => { throw 1 }; throw new Error("x")',
  'throw Object.create(null)',
  'return Promise.reject()',
  'return { then(resolve, reject) { reject(new Proxy(function () {}, {})) } }',
]

function valueOf({ end }: Ended): unknown {
  assert.equal(end.status, 'ok', messageIn(end))
  const data = JSON.parse(end.resultText) as unknown
  return end.encoding === 'tagged' ? decodeTagged(data) : data
}
