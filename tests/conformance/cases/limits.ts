import assert from 'node:assert/strict'
import { code, type Chapter } from '../case.ts'
import { messageIn } from '../stand.ts'
import type { Stand } from '../stand.ts'

const timeout = 250
const outputMax = 10_000
/** Beyond the limit of an output a wall sends this much, so that the gate keeps the end. */
const beyondMax = 8 * 2 ** 20
/** A wall may send one character beyond the limit, in bytes, so that the reader can detect truncation. */
const characterMax = 4
/** Longer than a busy machine takes to fill that memory. */
const hungryMsMax = 60_000
const memory = 48 * 2 ** 20

const forEver: readonly (readonly [what: string, source: string])[] = [
  ['a loop', 'for (;;) {}'],
  ['a loop of microtasks', 'const again = () => Promise.resolve().then(again); await again()'],
  ['a promise that never settles', 'await new Promise(() => {})'],
  ['endless timers', 'setInterval(() => {}, 1); await new Promise(() => {})'],
  ['a getter that loops while the result is read', 'return { get a() { for (;;) {} } }'],
  ['a loop in a regular expression', `/^(a+)+$/.test('a'.repeat(40) + 'b')`],
]

const hungry: readonly (readonly [what: string, source: string])[] = [
  ['a list', 'const list = []; for (;;) list.push(new Array(1000).fill(1))'],
  ['buffers', 'const list = []; for (;;) list.push(new Uint8Array(2 ** 20).fill(1))'],
  [
    'a string that doubles',
    `let text = 'x'.repeat(2 ** 20); const list = []; for (;;) list.push([...(text += 'x')].join(''))`,
  ],
  ['a map', 'const map = new Map(); for (let n = 0; ; n++) map.set(n, { n })'],
]

export const limits: Chapter = {
  name: 'Limits',
  cases: [
    ...forEver.map(([what, source]) => ({
      title: `Time: ${what} ends as a timeout`,
      needs: [{ language: 'js' } as const, code],
      async run(stand: Stand) {
        const { end } = await stand.run(source, { limits: { timeout } })
        assert.equal(end.status, 'timeout', messageIn(end))
      },
    })),
    ...hungry.map(([what, source]) => ({
      title: `Memory: ${what} ends at its limit`,
      needs: [{ language: 'js' } as const, code, { enforces: 'memory' } as const],
      async run(stand: Stand) {
        const limits = { timeout: hungryMsMax }
        const { end } = await stand.run(source, { controls: { memory }, limits })
        assert.deepEqual([end.status, end.error?.code], ['limit', 'MEMORY'], messageIn(end))
      },
    })),
    {
      title: 'Memory: after a guest exceeded its limit the next guest runs',
      needs: [{ language: 'js' }, code, { enforces: 'memory' }],
      async run(stand) {
        await stand.run(hungry[0]![1], { controls: { memory } })
        const { end } = await stand.run(stand.guests.echo, { input: 'next' })
        assert.equal(end.resultText, '"next"')
      },
    },
    {
      title: 'Output: at most 8 MiB over the limit is sent, on either stream',
      needs: [{ language: 'js' }, code],
      async run(stand) {
        const { end, stdout, stderr } = await stand.run(
          `for (let n = 0; n < 1000; n++) { console.log('x'.repeat(9999)); console.error('y'.repeat(9999)) }`,
          { limits: { output: outputMax } },
        )
        assert.ok(end.status === 'ok' || end.error?.code === 'OUTPUT', end.status)
        for (const text of [stdout, stderr])
          assert.ok(
            text.length > 0 && text.length <= outputMax + beyondMax + characterMax,
            `${text.length} bytes`,
          )
      },
    },
  ],
}
