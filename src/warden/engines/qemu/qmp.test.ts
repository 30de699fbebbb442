import assert from 'node:assert/strict'
import { duplexPair, type Duplex } from 'node:stream'
import { suite, test } from 'node:test'
import { collectGarbage } from '../../../lib/collect-garbage.ts'
import { openQmp, type QmpClient, type QmpOptions } from './qmp.ts'
import type { QmpEvent } from './qmp-commands.ts'

const greeting = {
  QMP: { version: { qemu: { major: 10, minor: 0, micro: 13 } }, capabilities: [] },
}
const done = { return: {} }

suite('The control connection of a machine', () => {
  test('Commands are answered by their ids, in order, with the fields of their shape', async () => {
    const { client } = await greeted((execute) =>
      execute === 'query-status'
        ? { return: { status: 'paused', running: false, singlestep: false } }
        : done,
    )
    assert.deepEqual(await client.greeted, { major: 10, minor: 0, micro: 13 })
    const [stop, status] = await Promise.all([client.ask('stop'), client.ask('query-status')])
    assert.deepEqual(stop, {})
    assert.deepEqual(status, { status: 'paused', running: false })
  })

  test('Arguments are sent with their command', async () => {
    const { client, heard } = await greeted(() => done)
    await client.ask('migrate', { uri: 'file:/template/state' })
    assert.deepEqual(heard.at(-1), {
      execute: 'migrate',
      arguments: { uri: 'file:/template/state' },
      id: 2,
    })
  })

  test('A refusal is an error of its command, without control characters, and ends nothing', async () => {
    const { client } = await greeted((execute) =>
      execute === 'cont' ? { error: { class: 'GenericError', desc: 'no\u001b[2J' } } : done,
    )
    await assert.rejects(client.ask('cont'), {
      code: 'INTERNAL',
      message: 'Cannot send "cont" to a machine: it refused: no [2J',
    })
    await client.ask('stop')
  })

  test('Events may arrive between answers, and a burst of 256 is accepted', async () => {
    const seen: QmpEvent[] = []
    const { client, say } = await greeted(() => done, { onEvent: (event) => seen.push(event) })
    for (let count = 0; count < 256; count++) say({ event: 'STOP' })
    await client.ask('stop')
    assert.deepEqual([seen.length, seen[0]], [256, { name: 'STOP', data: {} }])
  })

  test('The events of pauses that were asked for use up nothing', async () => {
    const { client, say } = await greeted((execute) => {
      say({ event: execute === 'stop' ? 'STOP' : 'RESUME' })
      return done
    })
    for (let count = 0; count < 400; count++) await client.ask(count % 2 === 0 ? 'stop' : 'cont')
    assert.equal(client.fault, undefined)
  })

  const hostile: readonly (readonly [title: string, said: string, why: RegExp])[] = [
    ['A line without an end', 'x'.repeat(2 ** 16 + 1), /a line over 65536 bytes/],
    ['A long line with an end', `${'x'.repeat(2 ** 16 + 1)}\n`, /a line over 65536 bytes/],
    ['Text', 'hello\n', /not a QMP message/],
    ['Half a line and a whole one', '{"return": {}, {"event": "STOP"}\n', /not a QMP message/],
    ['Bytes that are no UTF-8', '{"event": "\u00ff"}\n', /not a QMP message/],
    ['Deep nesting', `${'['.repeat(30_000)}\n`, /not a QMP message/],
    ['A key that comes twice', '{"event": "STOP", "event": "STOP"}\n', /not a QMP message/],
    ['An answer to no question', '{"return": {}, "id": 2}\n', /a response to no command/],
    ['An answer without an id', '{"return": {}}\n', /not a QMP message/],
    ['A second greeting', `${JSON.stringify(greeting)}\n`, /a second greeting/],
    ['An event without a name', '{"event": ""}\n', /not a QMP message/],
    ['An event of a number', '{"event": 7}\n', /not a QMP message/],
    ['An empty line', '\n', /not a QMP message/],
    ['A flood of events', '{"event": "STOP"}\n'.repeat(257), /too many events/],
  ]
  for (const [title, said, why] of hostile)
    test(`${title} ends the connection`, async () => {
      const { client, sayBytes } = await greeted(() => done)
      sayBytes(Buffer.from(said, 'latin1'))
      assert.match(await client.ended, why)
      await assert.rejects(client.ask('stop'), { code: 'PROTOCOL' })
    })

  test('An answer with the id of another question rejects both, and ends the connection', async () => {
    const { client, say } = await greeted(() => undefined)
    const both = Promise.allSettled([client.ask('stop'), client.ask('cont')])
    say({ return: {}, id: 3 })
    const ends = await both
    assert.deepEqual(
      ends.map((end) => end.status === 'rejected' && (end.reason as { code: string }).code),
      ['PROTOCOL', 'PROTOCOL'],
    )
    assert.match(await client.ended, /out of order/)
  })

  test('An answer of another shape rejects its question, and ends the connection', async () => {
    const { client } = await greeted((execute) =>
      execute === 'query-status' ? { return: { running: 'yes' } } : done,
    )
    await assert.rejects(client.ask('query-status'), { code: 'PROTOCOL' })
    assert.match(await client.ended, /another shape/)
  })

  test('A close in the middle of a line rejects every open question', async () => {
    const { client, sayBytes, peer } = await greeted(() => undefined)
    const open = client.ask('stop')
    sayBytes(Buffer.from('{"return": {}, '))
    peer.end()
    await assert.rejects(open, /closed the connection/)
  })

  test('A machine that stays silent loses its connection with the deadline of a question', async () => {
    const { client } = await greeted(() => undefined)
    const open = client.ask('stop')
    await assert.rejects(client.ask('cont', undefined, { msMax: 20 }), /"cont" is late/)
    await assert.rejects(open, /"cont" is late/)
  })

  test('A machine without a greeting, or with words before it, is refused', async () => {
    const [silent] = duplexPair()
    await assert.rejects(openQmp(silent, { answerMsMax: 20 }), /no greeting/)
    const [own, peer] = duplexPair()
    peer.write('{"event": "STOP"}\n')
    await assert.rejects(openQmp(own), /before its greeting/)
  })

  test('More than 16 open questions are refused, and the connection stays', async () => {
    const { client } = await greeted(() => undefined)
    const open = Array.from({ length: 16 }, () => client.ask('stop'))
    await assert.rejects(client.ask('stop'), { code: 'OVERLOADED' })
    client.close()
    const ends = await Promise.allSettled(open)
    assert.ok(ends.every(({ status }) => status === 'rejected'))
  })

  test('A line that arrives byte by byte, and never ends, costs its bytes and not a piece for each', async () => {
    const { own } = await greeted(() => done)
    collectGarbage()
    const before = process.memoryUsage().heapUsed
    for (let count = 0; count < 60_000; count++) own.emit('data', Buffer.alloc(1, 'x'))
    collectGarbage()
    const grown = process.memoryUsage().heapUsed - before
    assert.ok(grown < 2 ** 20, `${grown} bytes`)
  })

  test('A fault is told from a connection that a side closed', async () => {
    const { client, sayBytes } = await greeted(() => done)
    sayBytes(Buffer.from('hello\n'))
    await client.ended
    assert.match(client.fault!, /not a QMP message/)
    const other = await greeted(() => done)
    other.peer.end()
    assert.match(await other.client.ended, /closed the connection/)
    assert.equal(other.client.fault, undefined)
  })

  test('A line that arrives byte by byte is read completely', async () => {
    const { client, sayBytes } = await greeted(() => undefined)
    const open = client.ask('stop')
    for (const byte of Buffer.from('{"return": {}, "id": 2}\r\n')) sayBytes(Buffer.from([byte]))
    await open
  })
})

interface Played {
  readonly client: QmpClient
  readonly own: Duplex
  readonly peer: Duplex
  readonly heard: unknown[]
  say(line: object): void
  sayBytes(bytes: Buffer): void
}

/** A played machine that answers with what `answer` returns for a command. */
async function greeted(
  answer: (execute: string) => object | undefined,
  options: QmpOptions = {},
): Promise<Played> {
  const [own, peer] = duplexPair()
  const heard: unknown[] = []
  const say = (line: object) => void peer.write(`${JSON.stringify(line)}\n`)
  let half = ''
  peer.on('data', (chunk: Buffer) => {
    const lines = (half + chunk.toString()).split('\n')
    half = lines.pop()!
    for (const line of lines) {
      const question = JSON.parse(line) as { execute: string; id: number }
      heard.push(question)
      const first = question.execute === 'qmp_capabilities'
      const answered = first ? done : answer(question.execute)
      if (answered) say({ ...answered, id: question.id })
    }
  })
  say(greeting)
  const client = await openQmp(own, { now: () => 0, ...options })
  return { client, own, peer, heard, say, sayBytes: (bytes) => void peer.write(bytes) }
}
