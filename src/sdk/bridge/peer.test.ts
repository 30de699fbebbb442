import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { MayflyError } from '../../contract/error.ts'
import { FrameDecoder } from '../../lib/frames.ts'
import { classes } from './table.ts'
import { bridgeKinds, Peer, type PeerParts, type ServedCall } from './peer.ts'
import { until } from '../../../tests/conformance/stand.ts'
import { collectGarbage } from '../../lib/collect-garbage.ts'

type Served = Record<string, (...args: never[]) => unknown>

/** An application, and the process of its road, which serves these members. */
async function pair(served: Served, bounds: PeerParts['bounds'] = {}) {
  const [near, far] = await socketPair()
  const parts = { held: () => undefined, ended: () => undefined, bounds }
  const serve = ({ path, args }: ServedCall) => served[path]!(...(args as never[]))
  const host = new Peer(far, { ...parts, serve })
  const application = new Peer(near, { ...parts, serve: () => undefined })
  return { application, host, near, far }
}

async function socketPair(): Promise<readonly [Socket, Socket]> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const near = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [far] = (await once(server, 'connection')) as [Socket]
  server.close()
  for (const socket of [near, far]) socket.unref()
  return [near, far]
}

test('A call is answered by its value, and a throw by an error of the same class and parts', async () => {
  const { application } = await pair({
    add: (a: number, b: number) => a + b,
    refuse: () => {
      throw new MayflyError('CONFLICT', 'Cannot', {
        hint: 'Wait',
        details: { n: 1 },
        retryAfterMs: 5,
      })
    },
    fail: () => Promise.reject(new RangeError('far off', { cause: new TypeError('why') })),
    abort: () => {
      throw new DOMException('stopped', 'AbortError')
    },
    odd: () => Promise.reject({ no: 'error' }),
  })
  assert.equal(await application.call(1, 'add', [2, 3]), 5)
  await assert.rejects(application.call(1, 'refuse', []), (thrown) => {
    assert(thrown instanceof MayflyError)
    const { code, message, hint, details, retryAfterMs } = thrown
    assert.deepEqual(
      [code, message, hint, details, retryAfterMs],
      ['CONFLICT', 'Cannot', 'Wait', { n: 1 }, 5],
    )
    return true
  })
  await assert.rejects(application.call(1, 'fail', []), (thrown) => {
    assert(thrown instanceof RangeError && thrown.cause instanceof TypeError)
    assert.match(thrown.stack ?? '', /peer\.test\.ts/)
    return true
  })
  await assert.rejects(application.call(1, 'abort', []), { name: 'AbortError' })
  await assert.rejects(application.call(1, 'odd', []), (thrown) => {
    assert.deepEqual(thrown, { no: 'error' })
    return true
  })
})

test('A function is passed if the table lists it, is awaited, and is released with its call', async () => {
  let kept: ((text: string) => Promise<string>) | undefined
  const { application } = await pair({
    async run({ tap, other }: { tap: typeof kept; other: unknown }) {
      kept = tap
      return [await tap!('a'), other]
    },
  })
  const functions = { '0.tap': { kind: 'asked' } } as const
  const options = { tap: async (text: string) => `${text}!`, other: () => 'never' }
  assert.deepEqual(await application.call(1, 'run', [options], { functions }), ['a!', undefined])
  await assert.rejects(kept!('b'), { code: 'NOT_FOUND' })
})

test('A function that answers by JSON answers as JSON.stringify writes it, with the toJSON of its objects', async () => {
  const arrived: unknown[] = []
  const { application } = await pair({
    run: async (_: unknown, options: { functions: Record<string, () => Promise<unknown>> }) =>
      void arrived.push(await options.functions['a.b']!().catch((thrown: unknown) => thrown)),
  })
  const circle: { self?: unknown } = {}
  circle.self = circle
  class User {
    readonly name = 'Ada'
    readonly password = 'planted'
    toJSON() {
      return { name: this.name }
    }
  }
  const answer = async (value: unknown) => {
    const options = { functions: { 'a.b': () => value } }
    await application.call(1, 'run', [{}, options], classes.Mayfly.run)
    return arrived.at(-1)
  }
  const values = [new User(), [new User()], Buffer.from('a'), [new Date(0)], undefined, 'text', -0]
  for (const value of values)
    assert.deepEqual(await answer(value), JSON.parse(JSON.stringify(value) ?? 'null'))
  for (const value of [1n, circle]) assert.ok((await answer(value)) instanceof TypeError)
  assert.equal(arrived.length, values.length + 2)
})

test('A function without a row, also in data, leaves the name of its member', async () => {
  const { application } = await pair({ names: (options: object) => Object.keys(options) })
  const options = { tapp: () => 1, tap: undefined }
  assert.deepEqual(await application.call(1, 'names', [options]), ['tapp', 'tap'])
})

test('An error that cannot be written arrives by its message, and the reason of an abort is left out', async () => {
  const { application } = await pair({
    ask: ({ is }: { is(): Promise<boolean> }) => is(),
    wait: ({ signal }: { signal: AbortSignal }) => once(signal, 'abort').then(() => 'aborted'),
  })
  const functions = { '0.is': { kind: 'asked' } } as const
  const circle: { self?: unknown } = {}
  circle.self = circle
  const unreadable = Object.create(null) as object
  const thrown = [
    [new Error('of a circle', { cause: circle }), 'of a circle'],
    [circle, '[object Object]'],
    [Symbol('of a symbol'), 'Symbol(of a symbol)'],
    [Object.assign(unreadable, { circle }), 'Something without a text was thrown'],
  ] as const
  for (const [error, message] of thrown) {
    const is = () => Promise.reject(error)
    await assert.rejects(application.call(1, 'ask', [{ is }], { functions }), { message })
  }
  const given = new AbortController()
  const waiting = application.call(1, 'wait', [{ signal: given.signal }])
  given.abort(circle)
  assert.equal(await waiting, 'aborted')
})

test('A function that throws rejects on the other side with its error', async () => {
  const { application } = await pair({
    ask: ({ is }: { is(): Promise<boolean> }) => is(),
  })
  const functions = { '0.is': { kind: 'asked' } } as const
  const is = () => Promise.reject(new TypeError('who asks'))
  await assert.rejects(application.call(1, 'ask', [{ is }], { functions }), (thrown) => {
    assert(thrown instanceof TypeError)
    return thrown.message === 'who asks'
  })
})

test('A function that does not answer in its time is an error there', async () => {
  const { application } = await pair({
    ask: ({ isAvailable }: { isAvailable(): Promise<boolean> }) => isAvailable(),
  })
  const functions = { '0.isAvailable': { kind: 'asked', msMax: 20 } } as const
  const options = { isAvailable: () => new Promise(() => undefined) }
  const error = { code: 'UNAVAILABLE', message: /did not respond within 20 ms/ }
  await assert.rejects(application.call(1, 'ask', [options], { functions }), error)
})

test('An AbortSignal aborts on the other side, before and during the call, in both directions', async () => {
  const heard: string[] = []
  const { application } = await pair({
    wait: async ({ signal }: { signal: AbortSignal }) => {
      if (!signal.aborted) await once(signal, 'abort')
      return signal.aborted
    },
    async turn({ execute }: { execute(options: { signal: AbortSignal }): Promise<void> }) {
      const ending = new AbortController()
      const executed = execute({ signal: ending.signal })
      await sleep(5)
      ending.abort()
      await executed
      return 'turned'
    },
  })
  assert.equal(await application.call(1, 'wait', [{ signal: AbortSignal.abort() }]), true)
  const given = new AbortController()
  const waited = application.call(1, 'wait', [{ signal: given.signal }])
  given.abort(new Error('enough'))
  assert.equal(await waited, true)
  const execute = async ({ signal }: { signal: AbortSignal }) => {
    await once(signal, 'abort')
    heard.push('aborted')
  }
  const functions = { '0.execute': { kind: 'asked' } } as const
  assert.equal(await application.call(1, 'turn', [{ execute }], { functions }), 'turned')
  assert.deepEqual(heard, ['aborted'])
})

test('A signal of a call that keeps it aborts after the answer, as one signal for all such calls, and ends with the socket', async () => {
  const kept: AbortSignal[] = []
  const { application, far } = await pair({
    open: ({ signal }: { signal: AbortSignal }) => void kept.push(signal),
  })
  const [given, other] = [new AbortController(), new AbortController()]
  const open = (signal: AbortSignal, keepsSignals = true) =>
    application.call(1, 'open', [{ signal }], { keepsSignals })
  for (const { signal } of [given, given, other]) await open(signal)
  assert.equal(kept[0], kept[1])
  const aborted = once(kept[0]!, 'abort')
  given.abort(new RangeError('enough'))
  await aborted
  assert(kept[0]!.reason instanceof RangeError)
  await open(given.signal)
  assert.deepEqual(
    kept.map((signal) => signal.aborted),
    [true, true, false, true],
  )
  const ended = once(kept[2]!, 'abort')
  far.destroy()
  await ended
})

test('A kept signal that was collected is forgotten by the other side', async () => {
  const { application, far } = await pair({ open: () => undefined })
  let isForgotten = false
  const decoder = new FrameDecoder(1_000)
  far.on('data', (chunk: Buffer) => {
    for (const { kind } of decoder.push(chunk)) isForgotten ||= kind === bridgeKinds.forget
  })
  const options = () => [{ signal: new AbortController().signal }]
  await application.call(1, 'open', options(), { keepsSignals: true })
  await until(() => (collectGarbage(), isForgotten), 'the signal to be forgotten')
})

test('The end of the socket ends every call, and those that come after', async () => {
  const { application, far } = await pair({ wait: () => new Promise(() => undefined) })
  const waiting = application.call(1, 'wait', [])
  far.destroy()
  const lost = { code: 'WARDEN_LOST' }
  await assert.rejects(waiting, lost)
  await assert.rejects(application.call(1, 'wait', []), lost)
})

test('A message above the bound is TOO_LARGE to send, and the call alone fails', async () => {
  const { application } = await pair(
    { echo: (value: unknown) => value, grow: (n: number) => 'x'.repeat(n) },
    { messageBytes: 1_000 },
  )
  await assert.rejects(application.call(1, 'echo', ['x'.repeat(1_000)]), { code: 'TOO_LARGE' })
  await assert.rejects(application.call(1, 'grow', [1_000]), { code: 'TOO_LARGE' })
  assert.equal(await application.call(1, 'echo', [1]), 1)
})

test('Calls above the bound are refused at once, and others go on', async () => {
  const gate = Promise.withResolvers<void>()
  const { application } = await pair({ wait: () => gate.promise }, { calls: 2 })
  const waiting = [application.call(1, 'wait', []), application.call(1, 'wait', [])]
  await assert.rejects(application.call(1, 'wait', []), { code: 'OVERLOADED' })
  gate.resolve()
  await Promise.all(waiting)
  assert.equal(await application.call(1, 'wait', []), undefined)
})

test('A broken message ends the socket with PROTOCOL, and no call waits for ever', async () => {
  const { application, near, far } = await pair({ wait: () => new Promise(() => undefined) })
  const ended = new Promise((resolve) => void near.once('close', resolve))
  const waiting = application.call(1, 'wait', [])
  far.write(Buffer.from([255, 255, 255, 255, 1]))
  await assert.rejects(waiting, (thrown) => {
    assert(thrown instanceof MayflyError && thrown.cause instanceof MayflyError)
    assert.deepEqual([thrown.code, thrown.cause.code], ['WARDEN_LOST', 'PROTOCOL'])
    return true
  })
  await ended
})

test('Messages without a waiting caller are dropped while the send queue is full, with one warning', async () => {
  const { application, near } = await pair(
    {
      // More than the buffers of a socket hold.
      async tell({ on }: { on(n: number, text: string): void }) {
        for (let n = 0; n < 1_000; n++) on(n, 'x'.repeat(20_000))
      },
    },
    { toldBytes: 2_000 },
  )
  near.pause()
  const warned = once(process, 'warning')
  const heard: number[] = []
  const functions = { '0.on': { kind: 'told' } } as const
  const told = application.call(1, 'tell', [{ on: (n: number) => heard.push(n) }], { functions })
  const [warning] = (await warned) as [Error]
  assert.match(warning.message, /reads events too slowly/)
  near.resume()
  await told
  assert.ok(heard.length > 0 && heard.length < 1_000)
  assert.deepEqual(
    heard,
    heard.toSorted((a, b) => a - b),
  )
})
