import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import type { NetworkInput } from '../../src/contract/network.ts'
import { openStand, openWorld, type World } from '../fixtures/egress.ts'

/** Request of a guest to the proxy, and the expected result. `P` in the text is the port of the test web server. */
interface Case {
  readonly what: string
  readonly say: string
  readonly network?: NetworkInput
  /** Status of the answer. */
  readonly status: number
  readonly because?: RegExp
  /** Expected detail in the event, for the operator only. */
  readonly detail?: RegExp
  /** Addresses that names resolve to; by default the test servers. */
  readonly at?: readonly string[]
}

const get = (target: string, host: string, more = ''): string =>
  `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n`
const plain = get('http://a.example:P/x', 'a.example:P')

const cases: readonly Case[] = [
  { what: 'An allowed host', say: plain, status: 200 },
  { what: 'A host in capitals', say: get('http://A.EXAMPLE:P/', 'a.example:P'), status: 200 },
  {
    what: 'A host with a trailing dot',
    say: get('http://a.example.:P/', 'a.example:P'),
    status: 200,
  },
  { what: 'No network', say: plain, network: 'none', status: 403, because: /no network/ },
  { what: 'Another host', say: get('http://b.example:P/', 'b.example:P'), status: 403 },
  {
    what: 'A host that begins with the allowed one',
    say: get('http://a.example.b.example:P/', 'a.example.b.example:P'),
    status: 403,
  },
  {
    what: 'A host that ends with the allowed one',
    say: get('http://xa.example:P/', 'xa.example:P'),
    status: 403,
  },
  {
    what: 'A host below the allowed one',
    say: get('http://x.a.example:P/', 'x.a.example:P'),
    status: 403,
  },
  {
    what: 'Another port',
    say: get('http://a.example:1/', 'a.example:1'),
    status: 403,
    because: /no rule allows/,
  },
  {
    what: 'The standard port, where another is allowed',
    say: get('http://a.example/', 'a.example'),
    status: 403,
  },
  {
    what: 'A denied host',
    say: plain,
    network: { deny: ['a.example'] },
    status: 403,
    because: /is denied/,
  },
  {
    what: 'A wildcard',
    say: get('http://x.w.example:P/', 'x.w.example:P'),
    network: { allow: ['http://*.w.example:P'] },
    status: 200,
  },
  {
    what: 'The bare name under a wildcard',
    say: get('http://w.example:P/', 'w.example:P'),
    network: { allow: ['http://*.w.example:P'] },
    status: 403,
  },
  {
    what: 'A path of a rule',
    say: get('http://a.example:P/v1/x', 'a.example:P'),
    network: { allow: ['GET http://a.example:P/v1/*'] },
    status: 200,
  },
  {
    what: 'Another path than that of a rule',
    say: get('http://a.example:P/v2', 'a.example:P'),
    network: { allow: ['GET http://a.example:P/v1/*'] },
    status: 403,
  },
  {
    what: 'Another method than that of a rule',
    say: get('http://a.example:P/v1/x', 'a.example:P').replace('GET', 'DELETE'),
    network: { allow: ['GET http://a.example:P/v1/*'] },
    status: 403,
  },
  // Ambiguous spellings of a host.
  {
    what: 'A user before the host',
    say: get('http://a.example:P@b.example:P/', 'b.example:P'),
    status: 400,
  },
  {
    what: 'A user and a password',
    say: get('http://u:p@a.example:P/', 'a.example:P'),
    status: 400,
  },
  {
    what: 'A backslash in the authority',
    say: get('http://a.example:P\\@b.example/', 'a.example:P'),
    status: 400,
  },
  {
    what: 'A percent sign in the host',
    say: get('http://a%2eexample:P/', 'a.example:P'),
    status: 400,
  },
  {
    what: 'A NUL in the host',
    say: get('http://a.example\0.b.example:P/', 'a.example:P'),
    status: 400,
  },
  {
    what: 'A NUL in a header',
    say: get('http://a.example:P/', 'a.example:P', 'X: a\0b\r\n'),
    status: 400,
  },
  { what: 'A space in the address', say: get('http://a.example:P /', 'a.example:P'), status: 400 },
  { what: 'A tab in the request line', say: plain.replace(' HTTP', '\tHTTP'), status: 400 },
  { what: 'A name in Unicode', say: get('http://\u00e4.example:P/', 'a.example:P'), status: 400 },
  { what: 'A fragment', say: get('http://a.example:P/#@b.example', 'a.example:P'), status: 400 },
  {
    what: 'A port with a leading zero',
    say: get('http://a.example:0P/', 'a.example:P'),
    status: 400,
  },
  {
    what: 'A port beyond all ports',
    say: get('http://a.example:70000/', 'a.example:70000'),
    status: 400,
  },
  { what: 'No host', say: get('http:///x', 'a.example:P'), status: 400 },
  // Addresses.
  {
    what: 'Loopback by number',
    say: get('http://127.0.0.1:1/', '127.0.0.1:1'),
    network: 'open',
    status: 403,
    because: /loopback/,
  },
  { what: 'Octal', say: get('http://0177.0.0.1:P/', '0177.0.0.1:P'), network: 'open', status: 400 },
  {
    what: 'Hexadecimal',
    say: get('http://0x7f.0.0.1:P/', '0x7f.0.0.1:P'),
    network: 'open',
    status: 400,
  },
  {
    what: 'One number',
    say: get('http://2130706433:P/', '2130706433:P'),
    network: 'open',
    status: 400,
  },
  { what: 'A short form', say: get('http://127.1:P/', '127.1:P'), network: 'open', status: 400 },
  { what: 'IPv6 loopback', say: get('http://[::1]:P/', '[::1]:P'), network: 'open', status: 403 },
  {
    what: 'A mapped address',
    say: get('http://[::ffff:127.0.0.1]:P/', '[::ffff:127.0.0.1]:P'),
    network: 'open',
    status: 403,
    because: /IPv6 form/,
  },
  {
    what: 'A zone',
    say: get('http://[fe80::1%25eth0]:P/', '[fe80::1]:P'),
    network: 'open',
    status: 400,
  },
  {
    what: 'The metadata of a cloud',
    say: get('http://169.254.169.254/latest', '169.254.169.254'),
    network: 'open',
    status: 403,
    because: /metadata/,
  },
  {
    what: 'The metadata by name',
    say: get('http://metadata.google.internal/', 'metadata.google.internal'),
    network: 'open',
    status: 403,
    because: /metadata/,
  },
  {
    what: 'This host by name',
    say: get('http://localhost:P/', 'localhost:P'),
    network: 'open',
    status: 403,
    because: /this host/,
  },
  {
    what: 'An allowed name at a private address',
    say: plain,
    at: ['10.0.0.5'],
    status: 403,
    because: /not public/,
    detail: /private/,
  },
  {
    what: 'An allowed name at loopback, another port',
    say: get('http://a.example:9/', 'a.example:9'),
    network: 'open',
    status: 403,
    because: /not public/,
    detail: /loopback/,
  },
  {
    what: 'One private address among public ones',
    say: plain,
    at: ['93.184.215.14', '10.0.0.5'],
    status: 403,
    because: /not public/,
    detail: /private/,
  },
  {
    what: 'A name at a mapped address',
    say: plain,
    at: ['::ffff:127.0.0.1'],
    status: 403,
    because: /not public/,
    detail: /IPv6 form/,
  },
  {
    what: 'A name at a translated metadata address',
    say: plain,
    at: ['64:ff9b::a9fe:a9fe'],
    status: 403,
    because: /not public/,
    detail: /metadata/,
  },
  { what: 'A name without an address', say: plain, at: [], status: 502, because: /no address/ },
  {
    what: 'A resolver with an invalid answer',
    say: plain,
    at: ['a.example'],
    status: 403,
    because: /not public/,
    detail: /no plain address/,
  },
  // Request smuggling.
  {
    what: 'Two body lengths',
    say:
      get(
        'http://a.example:P/',
        'a.example:P',
        'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n',
      ) + '0\r\n\r\n',
    status: 400,
  },
  {
    what: 'Two lengths',
    say: get('http://a.example:P/', 'a.example:P', 'Content-Length: 0\r\nContent-Length: 5\r\n'),
    status: 400,
  },
  {
    what: 'Two lengths in one header',
    say: get('http://a.example:P/', 'a.example:P', 'Content-Length: 0, 5\r\n'),
    status: 400,
  },
  {
    what: 'A length with a sign',
    say: get('http://a.example:P/', 'a.example:P', 'Content-Length: +5\r\n'),
    status: 400,
  },
  {
    what: 'A coding that is not chunked',
    say: get('http://a.example:P/', 'a.example:P', 'Transfer-Encoding: gzip, chunked\r\n'),
    status: 400,
  },
  {
    what: 'A hidden coding',
    say: get('http://a.example:P/', 'a.example:P', 'Transfer-Encoding: \x0bchunked\r\n'),
    status: 400,
  },
  {
    what: 'A space before a colon',
    say: get('http://a.example:P/', 'a.example:P', 'Content-Length : 5\r\n'),
    status: 400,
  },
  {
    what: 'A folded header',
    say: get('http://a.example:P/', 'a.example:P', 'X: a\r\n b\r\n'),
    status: 400,
  },
  {
    what: 'A line that ends with LF',
    say: `GET http://a.example:P/ HTTP/1.1\nHost: a.example:P\r\n\r\n`,
    status: 400,
  },
  {
    what: 'A CR inside a header',
    say: get('http://a.example:P/', 'a.example:P', 'X: a\rHost: b.example\r\n'),
    status: 400,
  },
  {
    what: 'Two hosts',
    say: get('http://a.example:P/', 'a.example:P', 'Host: b.example\r\n'),
    status: 400,
  },
  {
    what: 'Another Host than the address',
    say: get('http://a.example:P/', 'b.example'),
    status: 400,
    because: /Host differs/,
  },
  { what: 'No Host', say: 'GET http://a.example:P/ HTTP/1.1\r\n\r\n', status: 400 },
  {
    what: 'Connection that names a header',
    say: get('http://a.example:P/', 'a.example:P', 'Connection: close, Authorization\r\n'),
    status: 400,
  },
  { what: 'Another version', say: plain.replace('1.1', '2.0'), status: 400 },
  { what: 'The preface of HTTP/2', say: 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', status: 400 },
  { what: 'A method in lower case', say: plain.replace('GET', 'get'), status: 400 },
  {
    what: 'A head too long',
    say: get('http://a.example:P/', 'a.example:P', `X: ${'a'.repeat(40_000)}\r\n`),
    status: 431,
  },
  {
    what: 'A line too long',
    say: get(`http://a.example:P/${'a'.repeat(9_000)}`, 'a.example:P'),
    status: 431,
  },
  {
    what: 'Too many headers',
    say: get('http://a.example:P/', 'a.example:P', 'X: a\r\n'.repeat(101)),
    status: 431,
  },
  // Requests that are no proxy requests.
  { what: 'A path alone', say: get('/x', 'a.example:P'), status: 400 },
  {
    what: 'https without a tunnel',
    say: get('https://a.example/', 'a.example'),
    network: 'open',
    status: 400,
    because: /CONNECT/,
  },
  {
    what: 'Another scheme',
    say: get('ftp://a.example/', 'a.example'),
    network: 'open',
    status: 400,
  },
  { what: 'A file', say: get('file:///etc/passwd', 'a.example'), network: 'open', status: 400 },
  {
    what: 'An upgrade to HTTP/2',
    say: get('http://a.example:P/', 'a.example:P', 'Connection: Upgrade\r\nUpgrade: h2c\r\n'),
    status: 403,
  },
  {
    what: 'A WebSocket where only http is allowed',
    say: get('http://a.example:P/', 'a.example:P', 'Connection: Upgrade\r\nUpgrade: websocket\r\n'),
    status: 403,
    because: /ws:/,
  },
  { what: 'SOCKS', say: '\x05\x01\x00', status: 400 },
  { what: 'TLS to the proxy itself', say: '\x16\x03\x01\x00\x05hello', status: 400 },
  // Tunnels.
  {
    what: 'A tunnel to another host',
    say: 'CONNECT b.example:443 HTTP/1.1\r\nHost: b.example:443\r\n\r\n',
    status: 403,
  },
  {
    what: 'A tunnel without a port',
    say: 'CONNECT a.example HTTP/1.1\r\nHost: a.example\r\n\r\n',
    status: 400,
  },
  {
    what: 'A tunnel to port zero',
    say: 'CONNECT a.example:0 HTTP/1.1\r\nHost: a.example:0\r\n\r\n',
    status: 400,
  },
  {
    what: 'A tunnel with a scheme',
    say: 'CONNECT https://a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n',
    status: 400,
  },
  {
    what: 'A tunnel with a user',
    say: 'CONNECT u@a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n',
    status: 400,
  },
  {
    what: 'A tunnel whose Host is another',
    say: 'CONNECT a.example:443 HTTP/1.1\r\nHost: b.example:443\r\n\r\n',
    status: 400,
  },
  {
    what: 'A tunnel with a body',
    say: 'CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\nContent-Length: 3\r\n\r\nabc',
    status: 400,
  },
  {
    what: 'A tunnel to the proxy itself',
    say: 'CONNECT 127.0.0.1:3128 HTTP/1.1\r\nHost: 127.0.0.1:3128\r\n\r\n',
    network: 'open',
    status: 403,
    because: /loopback/,
  },
  {
    what: 'A tunnel to DNS over TLS',
    say: 'CONNECT dns.example:853 HTTP/1.1\r\nHost: dns.example:853\r\n\r\n',
    status: 403,
  },
  {
    what: 'A tunnel to DNS over HTTPS',
    say: 'CONNECT 1.1.1.1:443 HTTP/1.1\r\nHost: 1.1.1.1:443\r\n\r\n',
    status: 403,
  },
  {
    what: 'A tunnel to a mail server',
    say: 'CONNECT a.example:25 HTTP/1.1\r\nHost: a.example:25\r\n\r\n',
    status: 403,
  },
]

suite("The proxy's decisions", () => {
  let world: World
  before(async () => {
    world = await openWorld()
  })
  after(() => world[Symbol.asyncDispose]())

  test('S1-8, S4-8: more than sixty cases are covered', () => {
    const refused = cases.filter(({ status }) => status !== 200)
    assert.ok(refused.length > 60)
  })

  for (const { what, say, network, status, because, detail, at } of cases)
    test(`S1-8, S4-8: ${what}: ${status}`, async () => {
      const withPort = <T>(value: T): T =>
        JSON.parse(JSON.stringify(value).replaceAll(/:(0?)P\b/g, `:$1${world.ports.http}`)) as T
      const [heard, connections] = [world.heard.length, world.connections()]
      await using stand = await openStand(
        world,
        withPort(network ?? { allow: ['http://a.example:P', 'a.example'] }),
        at && { resolver: () => Promise.resolve(at) },
      )
      const bytes = Buffer.from(say.replaceAll(/:(0?)P\b/g, `:$1${world.ports.http}`), 'latin1')
      const said = await stand.say(bytes)
      assert.match(said, new RegExp(`^HTTP/1\\.1 ${status} `))
      if (because) assert.match(said, because)
      if (detail) {
        assert.match(String(stand.events[0]?.fields['detail']), detail)
        assert.doesNotMatch(said, detail)
      }
      const [attempt] = stand.proxy.attempts
      assert.equal(stand.proxy.attempts.length, 1)
      const isLetOut = status === 200 || status === 502
      assert.equal(attempt?.verdict, isLetOut ? 'allowed' : 'denied')
      assert.equal(stand.events[0]?.point, isLetOut ? 'egress/allowed' : 'egress/denied')
      // Denied requests reach no server.
      assert.equal(world.heard.length - heard, status === 200 ? 1 : 0)
      assert.equal(world.connections() - connections, status === 200 ? 1 : 0)
      if (status !== 200) assert.deepEqual([attempt?.sent, attempt?.received], [0, 0])
    })
})

test('S1-8: a denied scheme, port or path of a host is denied to a request that asks for a WebSocket, too', async () => {
  await using world = await openWorld()
  const at = `a.example:${world.ports.http}`
  const upgrade = get(`http://${at}/admin/x`, at, 'Connection: Upgrade\r\nUpgrade: websocket\r\n')
  for (const deny of [`http://${at}`, `http://${at}/admin/*`]) {
    await using stand = await openStand(world, { deny: [deny] })
    assert.match(await stand.say(upgrade), /^HTTP\/1.1 403 .*is denied/)
  }
  assert.equal(world.heard.length, 0)
})
