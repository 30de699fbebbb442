import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { after, before, suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Ledger } from '../../src/egress/ledger.ts'
import { nextChunk } from '../../src/egress/streams.ts'
import { TrafficAccount } from '../../src/egress/traffic-account.ts'
import { LoopLimiter } from '../../src/lib/loop-limiter.ts'
import { until } from '../conformance/stand.ts'
import { emitterInto, openStand, openWorld, type World } from '../fixtures/egress.ts'

let world: World
before(async () => {
  // No length is set, so that Node sends chunks.
  world = await openWorld((request, response) => {
    response.write('a chunk')
    return !!response.end(request.url)
  })
})
after(() => world[Symbol.asyncDispose]())

/** Limiter without any time left until `share` resolves; each wait is recorded. */
async function exhausted() {
  const share = Promise.withResolvers<void>()
  let now = 0
  const waits: number[] = []
  const wait = (ms: number) => (waits.push(ms), share.promise.then(() => void (now += 60_000)))
  const limiter = new LoopLimiter({ now: () => now, wait })
  await limiter.run(
    () => (now += 1_000),
    () => true,
  )
  return { limiter, waits, share }
}

suite('Parsers of streams', () => {
  const frame = Buffer.from([0x82, 0x84, 0, 0, 0, 0, 1, 2, 3, 4])
  const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\n'
  const chunks = 'Transfer-Encoding: chunked\r\n'
  for (const [what, lines, body] of [
    ['the frames of a WebSocket', upgrade, frame],
    ['the chunks of a request', chunks, '1\r\na\r\n0\r\n\r\n'],
    ['the chunks of an answer', '', ''],
  ] as const)
    test(`Attack: ${what}, which may be of a byte each, are parsed within the run's share of the server's thread`, async () => {
      const { limiter, waits, share } = await exhausted()
      const heard = world.heard.length
      const budget = { sentMax: 2 ** 30, receivedMax: 2 ** 30 }
      const account = new TrafficAccount(undefined, limiter)
      const ledger = new Ledger(budget, { emitter: emitterInto([]), run: null, account })
      const at = `a.example:${world.ports.http}`
      await using stand = await openStand(
        world,
        { allow: [`http://${at}`, `ws://${at}`] },
        { ledger },
      )
      const socket = connect(stand.port, '127.0.0.1').on('error', () => undefined)
      const method = lines === upgrade ? 'GET' : 'POST'
      socket.write(`${method} http://${at}/x HTTP/1.1\r\nHost: ${at}\r\n${lines}\r\n`)
      if (lines === upgrade) assert.match(String(await nextChunk(socket)), /^HTTP\/1.1 101 /)
      socket.write(body)
      await until(() => waits.length > 0, 'a wait')
      await sleep(50)
      let said = Buffer.from((socket.read() as Buffer | null) ?? '')
      for (const text of lines === upgrade ? [frame] : ['a chunk', '/x'])
        assert.ok(!said.includes(text), String(said))
      assert.equal(world.heard.length - heard, lines === chunks ? 0 : 1)
      share.resolve()
      while (!said.includes(lines === upgrade ? frame : '/x'))
        said = Buffer.concat([said, (await nextChunk(socket))!])
      socket.destroy()
    })
})
