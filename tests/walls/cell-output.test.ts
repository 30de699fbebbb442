import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { Output } from '../../guest/cell/output.js'
import { IsolateSession } from '../fixtures/cell-session.ts'
import { inCell } from './in-cell.ts'

/** Bytes beyond the limit that are a flood. */
const FLOOD_BYTES = 8 * 2 ** 20

suite('Output of a cell', () => {
  test('is deferred to a shallower stack frame when the job used up the stack, and arrives complete and in order', () => {
    const written: string[] = []
    let hasRoom = true
    const output = new Output((text) => {
      if (!hasRoom) throw new RangeError('Maximum call stack size exceeded')
      written.push(text)
    }, 100_000)
    output.add('a')
    hasRoom = false
    const long = 'b'.repeat(40_000)
    output.add(long)
    output.add('c')
    assert.match(output.lost?.message ?? '', /stack/)
    hasRoom = true
    output.flush()
    assert.equal(output.lost, undefined)
    assert.equal(written.join(''), `a${long}c`)
  })

  test('reaches the server also beyond its limit, which keeps its end', async () => {
    const code = `console.log('x'.repeat(4e6)); console.log('last'); return 1`
    const { status, error, stdout } = await inCell(code, { outputBytesMax: 1000 })
    assert.deepEqual([status, error], ['ok', undefined])
    assert.ok(stdout === `${'x'.repeat(4e6)}\nlast\n`)
    const longer = await inCell(`console.log('x'.repeat(5e6))`)
    assert.match(longer.stdout, /x\.\.\. 805696 more characters\n$/)
  })

  test('is dropped once it is a flood, at most three bytes before that, also between lone halves of characters', () => {
    for (const text of [
      'a',
      'é',
      '€',
      '\ud83d',
      '\udc00',
      '\ud83d\ude00',
      'a\ud83d\ude00',
      '\ud83d\ud83d\ude00',
    ])
      for (let limit = FLOOD_BYTES + 4; limit < FLOOD_BYTES + 12; limit++) {
        let written = ''
        const output = new Output((piece) => void (written += piece), limit - FLOOD_BYTES)
        const all = text.repeat(FLOOD_BYTES + 100)
        output.add(all)
        output.flush()
        const bytes = Buffer.byteLength(written)
        const told = `${bytes} of ${limit} bytes of ${JSON.stringify(text)}`
        assert.ok(bytes <= limit && bytes > limit - 4, told)
        assert.ok(all.startsWith(written), told)
      }
  })

  test('keeps the order of both streams, for a thousand changes of the stream', async () => {
    const code = (count: number) =>
      `for (let i = 0; i < ${count}; i++) { console.error(i + ' err'); console.log(i + ' out') }`
    const lines = Array.from({ length: 400 }, (_, at) => `${at} err\n${at} out\n`)
    assert.equal((await inCell(code(400))).both, lines.join(''))
    const { stdout, chunks } = await inCell(code(50_000))
    assert.match(stdout, /49999 out\n$/)
    assert.ok(chunks.length < 10_000, `${chunks.length} frames`)
  })

  test('keeps the order of both streams in an exec of a session, too', async () => {
    using session = new IsolateSession()
    const { both } = await session.exec(
      'for (const at of [1, 2, 3]) { console.error(at); console.log(at) }',
    )
    assert.equal(both, '1\n1\n2\n2\n3\n3\n')
  })

  test('without end ends the job at its limit, with what was kept and the memory it used, also where it catches every error', async () => {
    const forever = 'for (;;) try { console.log("x".repeat(1e5)) } catch {} finally { continue }'
    const codes = [
      `while (true) console.log('x'.repeat(1e5))`,
      `while (true) console.error('x'.repeat(1e5))`,
      forever,
      `await null\n${forever}`,
    ]
    for (const code of codes) {
      const { status, error, ...ran } = await inCell(code, { outputBytesMax: 1000 })
      assert.deepEqual([status, error?.code], ['limit', 'OUTPUT'], code)
      assert.equal(ran.stdout.length + ran.stderr.length, 1000 + FLOOD_BYTES)
      const { used } = ran.memory
      assert.ok(used > 0 && used < 32 * 2 ** 20, `${used} bytes`)
    }
  })

  test('is dropped when the sink refuses it, and the cell reports why', () => {
    const output = new Output(() => {
      throw new Error('broken pipe')
    }, 100)
    output.add('a')
    output.flush()
    assert.equal(output.lost?.message, 'broken pipe')
  })
})
