import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { networkOf, type NetworkInput } from '../../src/contract/network.ts'
import { Ledger } from '../../src/egress/ledger.ts'
import { brokeredFetch, openStand, openWorld, emitterInto, type World } from '../fixtures/egress.ts'

let world: World
before(async () => {
  world = await openWorld()
})
after(() => world[Symbol.asyncDispose]())

const place = () => `http://a.example:${world.ports.http}`
const overriding = [
  'X-HTTP-Method-Override: DELETE',
  'x-http-method: DELETE',
  'X-Method-Override: DELETE',
  'X_HTTP_METHOD_OVERRIDE: DELETE',
  'X-Original-Method: DELETE',
  'X-Forwarded-Method: DELETE',
  'X-Original-URL: /admin',
  'X-Original-Uri: /admin',
  'X-Rewrite-URL: /admin',
  'X-Rewrite_Url: /admin',
  'X-Forwarded-Uri: /admin',
  'X-Forwarded-Path: /admin',
  'X-Forwarded-Prefix: /admin',
  'X-Forwarded-Host: b.example',
  'X-Host: b.example',
  'X-Envoy-Original-Path: /admin',
  'Forwarded: host=b.example',
  'Destination: /theirs/x',
  'X-Amz-Copy-Source: theirs/x',
  'x-goog-copy-source: theirs/x',
  'x-ms-copy-source: https://a.example/theirs/x',
  'x-ms-rename-source: /theirs/x',
  'x_oss_copy_source: /theirs/x',
]

/** Head of a proxied answer, and the result of the brokered request. */
async function asked(network: NetworkInput, line: string) {
  await using stand = await openStand(world, network)
  const [name = '', value = ''] = line.split(': ')
  const host = `a.example:${world.ports.http}`
  const text = `POST ${place()}/v1/notes HTTP/1.1\r\nHost: ${host}\r\n${line}\r\nContent-Length: 0\r\n\r\n`
  const said = (await stand.say(text)).split('\r\n\r\n')[0]!
  const request = { url: `${place()}/v1/notes`, method: 'POST', headers: [[name, value]] }
  const fetched = await brokeredFetch(
    JSON.stringify({ ...request, body: null, redirect: 'manual' }),
    {
      network: () => networkOf(network),
      ledger: new Ledger(
        { sentMax: 2 ** 20, receivedMax: 2 ** 20 },
        { emitter: emitterInto([]), run: 'exec_test' },
      ),
      resolver: () => Promise.resolve(['127.0.0.1']),
      exceptions: world.exceptions,
    },
  )
  return { said, fetched: JSON.parse(fetched), attempts: stand.proxy.attempts }
}

suite('A method or path override header', () => {
  for (const line of overriding)
    test(`S1-8: "${line}" does not pass a rule on methods or paths`, async () => {
      const heard = world.heard.length
      for (const network of [
        { allow: [`POST ${place()}/v1/notes`] },
        { deny: [`DELETE ${place()}/admin`] },
      ]) {
        const { said, fetched, attempts } = await asked(network, line)
        assert.match(said, /^HTTP\/1.1 403 .*override method or path/)
        assert.deepEqual(
          attempts.map(({ verdict }) => verdict),
          ['denied'],
        )
        assert.equal(fetched.error.code, 'EGRESS_DENIED')
        assert.match(fetched.error.message, /override method or path/)
      }
      assert.equal(world.heard.length, heard)
    })

  test('S1-8: passes where all methods and paths are permitted, and similar headers pass a rule on them', async () => {
    const [line = ''] = overriding
    for (const [network, header] of [
      [{ allow: [place()] }, line],
      [{ allow: [place(), `POST ${place()}/v1/*`] }, line],
      [{ allow: [`POST ${place()}/v1/notes`] }, 'X-Forwarded-For: 10.0.0.1'],
      [{ allow: [`POST ${place()}/v1/notes`] }, 'X-Request-Method-Id: 1'],
      [{ deny: [`DELETE ${place()}/admin`] }, 'X-Forwarded-For: 10.0.0.1'],
      [{ deny: [`DELETE ${place()}/admin`] }, 'X-Request-Method-Id: 1'],
    ] as const) {
      const { said, fetched } = await asked(network, header)
      assert.match(said, /^HTTP\/1.1 200 /)
      assert.equal(fetched.status, 200)
      const [name = '', value] = header.split(': ')
      assert.equal(world.heard.at(-1)!.headers[name.toLowerCase()], value)
      assert.equal(world.heard.at(-2)!.headers[name.toLowerCase()], value)
    }
  })

  test('S1-8: is refused on a WebSocket request too, which a server need not upgrade', async () => {
    const heard = world.heard.length
    const network = { allow: [`ws://a.example:${world.ports.http}`, `POST ${place()}/v1/notes`] }
    await using stand = await openStand(world, network)
    const upgrade = (more: string) =>
      `GET ${place()}/ws HTTP/1.1\r\nHost: a.example:${world.ports.http}\r\n${more}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`
    assert.match(await stand.say(upgrade('X-HTTP-Method-Override: DELETE\r\n')), /^HTTP\/1.1 403 /)
    assert.equal(world.heard.length, heard)
    assert.equal(stand.proxy.attempts[0]?.verdict, 'denied')
  })
})
