import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { GuestLife } from './guest-life.ts'
import { ProgramTerminals } from './program-terminals.ts'
import { kind } from './wire.ts'

/** The server's half of terminals, with the frames of a played guest. */
const task = { command: 'sh', cols: 80, rows: 24, term: 'xterm' }

function played() {
  const sent: { kind: number; head: Record<string, any>; bytes: number }[] = []
  const broken: string[] = []
  const wall = {
    send(what: number, payload: string | Buffer) {
      const bytes = Buffer.from(payload as string)
      const cut = bytes.indexOf(10)
      const head = JSON.parse(bytes.toString('utf8', 0, cut < 0 ? bytes.length : cut))
      sent.push({ kind: what, head, bytes: cut < 0 ? 0 : bytes.length - cut - 1 })
    },
  }
  const life = { parts: { wall }, isEnded: false, garbled: (why: string) => broken.push(why) }
  const terminals = new ProgramTerminals(life as unknown as GuestLife)
  const note = (id: string, what: object) =>
    terminals.receive({
      kind: kind.terminalNote,
      payload: Buffer.from(JSON.stringify({ protocol: 1, id, ...what })),
    })
  const print = (id: string, bytes: number | Buffer) => {
    const rest = typeof bytes === 'number' ? Buffer.alloc(bytes) : bytes
    const head = Buffer.from(`${JSON.stringify({ id })}\n`)
    terminals.receive({ kind: kind.terminalOutput, payload: Buffer.concat([head, rest]) })
  }
  async function open(take: (chunk: Uint8Array) => void | Promise<void> = () => undefined) {
    const opening = terminals.open(task, take)
    const { id } = sent.at(-1)!.head
    note(id, { opened: true })
    return { terminal: await opening, id: id as string }
  }
  return { terminals, sent, broken, note, print, open }
}

suite('Terminals on the side of the server', () => {
  test('a frame of an unknown id ends nothing, a flood of them the sandbox', async () => {
    const { note, print, open, broken } = played()
    const { terminal, id } = await open()
    for (let at = 0; at < 500; at++) print('unknown', 10)
    for (let at = 0; at < 500; at++) note('unknown', { ended: { exitCode: 0 } })
    assert.deepEqual(broken, [])
    note(id, { ended: { exitCode: 3 } })
    assert.deepEqual(await terminal.ended, { exitCode: 3 })
    print('unknown', 10)
    assert.equal(broken.length, 1)
  })

  test('unread output is bounded: the guest gets no credit, and a guest that ignores the window is ended', async () => {
    const { print, open, sent, broken } = played()
    const reading = Promise.withResolvers<void>()
    const { id } = await open(() => reading.promise)
    for (let at = 0; at < 32; at++) print(id, 16_384)
    await new Promise((then) => void setImmediate(then))
    assert.equal(sent.filter(({ head }) => 'taken' in head).length, 0)
    assert.deepEqual(broken, [])
    print(id, 1)
    assert.equal(broken.length, 1)
    reading.resolve()
  })

  test('input waits until the guest has acknowledged some', async () => {
    const { note, open, sent, broken } = played()
    const { terminal, id } = await open()
    let isWritten = false
    const written = terminal.write(Buffer.alloc(100_000)).then(() => (isWritten = true))
    await new Promise((then) => void setImmediate(then))
    const bytes = () => sent.reduce((sum, one) => sum + one.bytes, 0)
    assert.deepEqual([isWritten, bytes()], [false, 65_536])
    note(id, { taken: 65_536 })
    await written
    assert.equal(bytes(), 100_000)
    note(id, { taken: 65_536 })
    assert.equal(broken.length, 1, 'more was taken than sent')
  })

  test('at most four are open, and one that the guest cannot open is refused', async () => {
    const { terminals, note, open, sent } = played()
    const refused = terminals.open(task, () => undefined)
    note(sent.at(-1)!.head['id'], { error: { message: 'no devpts' } })
    await assert.rejects(refused, { code: 'UNAVAILABLE' })
    for (let at = 0; at < 4; at++) await open()
    await assert.rejects(
      terminals.open(task, () => undefined),
      { code: 'OVERLOADED' },
    )
    terminals.lost()
    await new Promise((then) => void setImmediate(then))
    await open()
  })

  test('output of single bytes that waits for its reader takes few buffers, and keeps its order', async () => {
    const { print, open, broken } = played()
    const reading = Promise.withResolvers<void>()
    const chunks: Uint8Array[] = []
    const { id } = await open((chunk) => {
      chunks.push(chunk)
      return reading.promise
    })
    const all = Array.from({ length: 200_000 }, (_, at) => at % 251)
    for (const byte of all) print(id, Buffer.from([byte]))
    assert.deepEqual(broken, [])
    reading.resolve()
    await new Promise((then) => void setImmediate(then))
    assert.ok(Buffer.concat(chunks).equals(Buffer.from(all)))
    assert.ok(chunks.length < 100, `${chunks.length} buffers`)
  })

  test('output without bytes, and an acknowledgement of none, end the sandbox', async () => {
    for (const isNote of [true, false]) {
      const { note, print, open, broken } = played()
      const { id } = await open()
      if (isNote) note(id, { taken: 0 })
      else print(id, 0)
      assert.equal(broken.length, 1)
    }
  })

  test('after the end of its program it can be closed, and ends with its sandbox, while its output is not read', async () => {
    for (const isClosed of [true, false]) {
      const { terminals, note, print, open } = played()
      const { terminal, id } = await open(() => new Promise<void>(() => undefined))
      let ended: object | undefined
      void terminal.ended.then((exit) => (ended = exit))
      print(id, 10)
      note(id, { ended: { exitCode: 3 } })
      await new Promise((then) => void setImmediate(then))
      assert.equal(ended, undefined, 'its output comes first')
      if (isClosed) terminal.close()
      else terminals.lost()
      await new Promise((then) => void setImmediate(then))
      assert.deepEqual(ended, { exitCode: 3 })
    }
  })
})
