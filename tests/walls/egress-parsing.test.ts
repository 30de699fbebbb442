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

/** Limiter that has no time left from `exhaust` on, until `share` resolves; each wait is recorded. */
function limited() {
  const share = Promise.withResolvers<void>()
  let now = 0
  const waits: number[] = []
  const wait = (ms: number) => (waits.push(ms), share.promise.then(() => void (now += 60_000)))
  const limiter = new LoopLimiter({ now: () => now, wait })
  const exhaust = () =>
    limiter.run(
      () => (now += 1_000),
      () => true,
    )
  return { limiter, waits, share, exhaust }
}

suite('Parsers of streams', () => {
  const frame = Buffer.from([0x82, 0x84, 0, 0, 0, 0, 1, 2, 3, 4])
  const pushed = Buffer.from([0x82, 4, 5, 6, 7, 8])
  const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\n'
  const chunks = 'Transfer-Encoding: chunked\r\n'
  for (const [what, lines, body, passes] of [
    ['the frames of a WebSocket', upgrade, frame, [frame]],
    ['the frames of the server of a WebSocket', upgrade, '', [pushed]],
    ['the chunks of a request', chunks, '1\r\na\r\n0\r\n\r\n', ['a chunk', '/x']],
    ['the chunks of an answer', '', '', ['a chunk', '/x']],
  ] as const)
    test(`Attack: ${what}, which may be of a byte each, are parsed within the run's share of the server's thread`, async () => {
      const { limiter, waits, share, exhaust } = limited()
      const [heard, echoed] = [world.heard.length, world.echoed()]
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
      if (lines !== upgrade) await exhaust()
      socket.write(`${method} http://${at}/x HTTP/1.1\r\nHost: ${at}\r\n${lines}\r\n`)
      let said = lines === upgrade ? (await nextChunk(socket))! : Buffer.alloc(0)
      if (lines === upgrade) {
        assert.match(String(said), /^HTTP\/1.1 101 /)
        await exhaust()
        if (body === '') world.push(pushed)
      }
      socket.write(body)
      await until(() => waits.length > 0, 'a wait')
      await sleep(50)
      said = Buffer.concat([said, (socket.read() as Buffer | null) ?? Buffer.alloc(0)])
      for (const text of passes) assert.ok(!said.includes(text), String(said))
      assert.equal(world.heard.length - heard, lines === chunks ? 0 : 1)
      assert.equal(world.echoed(), echoed)
      share.resolve()
      while (!passes.every((text) => said.includes(text)))
        said = Buffer.concat([said, (await nextChunk(socket))!])
      socket.destroy()
    })
})
