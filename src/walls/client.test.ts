import assert from 'node:assert/strict'
import { createServer, Socket } from 'node:net'
import { suite, test } from 'node:test'
import { MayflyError } from '../contract/error.ts'
import { Client } from './client.ts'
import type { Request } from '../contract/warden-request.ts'

suite('The client of the warden', () => {
  test('Answers are matched to requests by id, in any order', async () => {
    const { client, asked } = standing()
    const [one, two] = [client.request({ op: 'facts' }), client.request({ op: 'kill', wall: 'w1' })]
    client.receive({ id: asked[1]!.id, ok: true, value: 'second' })
    client.receive({ id: asked[0]!.id, ok: true, value: 'first' })
    assert.deepEqual([(await one).value, (await two).value], ['first', 'second'])
  })

  test('A refusal is an error with its code and hint', async () => {
    const { client, asked } = standing()
    const answer = client.request({ op: 'facts' })
    client.receive({ id: asked[0]!.id, ok: false, code: 'NO_JAIL', message: 'No', hint: 'Do' })
    await assert.rejects(answer, {
      name: 'MayflyError',
      code: 'NO_JAIL',
      message: 'No',
      hint: 'Do',
    })
  })

  test('A socket without a pending request is closed', () => {
    const { client } = standing()
    const socket = new Socket()
    client.receive({ id: 99, ok: true, value: {} }, socket)
    assert.equal(socket.destroyed, true)
  })

  test('An error of a handle before its answer, or of one that nobody takes, does not reach the process', async () => {
    const { client, asked } = standing()
    const waiting = client.request({ op: 'facts' })
    const { id } = asked[0]!
    const [part, other, listener] = [new Socket(), new Socket(), createServer()]
    client.receive({ of: id, part: 'stdout' }, part)
    client.receive({ of: 99, part: 'stdout' }, other)
    // Would be thrown here without a listener.
    for (const handle of [part, other]) handle.emit('error', new Error('ECONNRESET'))
    client.receive({ id, ok: true, value: {} }, listener)
    listener.emit('error', new Error('EMFILE'))
    assert.equal((await waiting).handle, listener)
  })

  test('The sockets that came before a refusal are closed', async () => {
    const { client, asked } = standing()
    const waiting = client.request({ op: 'facts' })
    const { id } = asked[0]!
    const part = new Socket()
    client.receive({ of: id, part: 'stdout' }, part)
    client.receive({ id, ok: false, code: 'NO_JAIL', message: 'No' })
    await assert.rejects(waiting)
    assert.equal(part.destroyed, true)
  })

  test('When the warden is lost, pending and later requests are rejected', async () => {
    const { client } = standing()
    let told = 0
    client.onLost(() => told++)
    const waiting = client.request({ op: 'facts' })
    client.disconnected()
    client.disconnected()
    await assert.rejects(waiting, isLost)
    await assert.rejects(client.request({ op: 'facts' }), isLost)
    assert.equal(told, 1)
  })

  test('An unsubscribed listener is not called when the warden is lost', () => {
    const { client } = standing()
    const told: string[] = []
    const forget = client.onLost(() => told.push('first'))
    client.onLost(() => told.push('second'))
    forget()
    client.disconnected()
    assert.deepEqual(told, ['second'])
  })

  test('The end of a wall is reported once, also to a listener that subscribes late', () => {
    const { client } = standing()
    const ends: string[] = []
    const exit = { exitCode: 1, signal: null, cpuMs: null }
    const end = { how: 'memory', peakBytes: 7, detail: 'exit 1', exit } as const
    client.receive({ ended: 'w1', ...end })
    client.onEnded('w1', (how) => ends.push(`late ${how}`))
    client.onEnded('w2', (how, peak) => ends.push(`${how} ${peak}`))
    client.receive({ ended: 'w2', ...end })
    client.receive({ ended: 'w2', ...end })
    assert.deepEqual(ends, ['late memory', 'memory 7'])
  })
})

suite('A wall of whole programs, handed over', () => {
  const wall = { id: 'w1', program: 'python' }

  test('A started wall has the streams of its outputs', async () => {
    const { client, asked } = standing()
    const started = client.start('python', {
      spares: 0,
      spareMiB: 8,
      mechanism: 'embedded',
      disk: 2 ** 20,
    })
    const [socket, stdout, stderr] = [new Socket(), new Socket(), new Socket()]
    const [{ id } = { id: 0 }] = asked
    client.receive({ of: id, part: 'stdout' }, stdout)
    client.receive({ of: id, part: 'stderr' }, stderr)
    client.receive({ id, ok: true, value: wall }, socket)
    assert.deepEqual(await started, { wall, socket, streams: { stdout, stderr } })
  })

  test('A wall with a missing output is killed, and the sockets that came are closed', async () => {
    const { client, asked } = standing()
    const started = client.start('python', { spares: 0, spareMiB: 8 })
    const [socket, stdout] = [new Socket(), new Socket()]
    client.receive({ of: 1, part: 'stdout' }, stdout)
    client.receive({ of: 1, part: 'stderr' })
    client.receive({ id: 1, ok: true, value: wall }, socket)
    await new Promise((resolve) => void setImmediate(resolve))
    client.receive({ id: 2, ok: true, value: {} })
    await assert.rejects(started, (thrown) => (thrown as MayflyError).code === 'UNAVAILABLE')
    assert.deepEqual(
      asked.map(({ op }) => op),
      ['start', 'kill'],
    )
    assert.deepEqual([socket.destroyed, stdout.destroyed], [true, true])
  })

  test('When the warden is lost during a start, received sockets are closed; so are those without a pending request', async () => {
    const { client } = standing()
    const waiting = client.request({ op: 'start', program: 'node', spares: 0, spareMiB: 8 })
    const [stdout, late] = [new Socket(), new Socket()]
    client.receive({ of: 1, part: 'stdout' }, stdout)
    client.disconnected()
    client.receive({ of: 1, part: 'stderr' }, late)
    await assert.rejects(waiting, isLost)
    assert.deepEqual([stdout.destroyed, late.destroyed], [true, true])
  })

  test('The egress listener is returned by the claim that requested it', async () => {
    const { client } = standing()
    const to = { tenant: '', memory: 1, deadline: 1, cpu: 1, processes: 8, egress: true }
    const claimed = client.claim('w1', to)
    const [listener, enforced] = [createServer(), { memory: 'cgroup' }]
    client.receive({ id: 1, ok: true, value: { spent: false, enforced } }, listener)
    assert.deepEqual(await claimed, { spent: false, enforced, listener })
  })

  test('A change of the sentinel state is reported once, the last one also to a listener that subscribes late', () => {
    const { client } = standing()
    const [off, on] = [{ isOn: false, why: 'no', retryMs: 1 } as const, { isOn: true, why: '' }]
    for (const sentinel of [on, off]) client.receive({ sentinel })
    const told: unknown[] = []
    client.onSentinel((one) => void told.push(one))
    client.receive({ sentinel: on })
    client.onSentinel((one) => void told.push(one))
    assert.deepEqual(told, [off, on])
  })
})

function standing() {
  const asked: Request[] = []
  const close = () => Promise.resolve()
  return { client: new Client((request) => void asked.push(request), close), asked }
}

function isLost(thrown: unknown): boolean {
  return thrown instanceof MayflyError && thrown.code === 'WARDEN_LOST'
}
