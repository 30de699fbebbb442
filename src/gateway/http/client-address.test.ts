import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, request, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { suite, test } from 'node:test'
import { configSchema, type ProxyHeader } from '../../contract/config.ts'
import { clientGroup, rememberClients } from './client-address.ts'

const [proxy, other] = ['127.0.0.21', '127.0.0.22']
const padding = Array.from({ length: 100 }, () => '198.51.100.9').join(',')

const cases: readonly (readonly [title: string, from: string, header: string, group: string])[] = [
  ['no header leaves the proxy’s own address', proxy, '', proxy],
  ['a client has the address that its proxy saw', proxy, '203.0.113.7', '203.0.113.7'],
  ['IPv6 clients are grouped by their /64', proxy, '2001:db8:1:2:3::4', '2001:db8:1:2'],
  ['a port is left out', proxy, '203.0.113.7:4711', '203.0.113.7'],
  ['a port behind IPv6 is left out', proxy, '[2001:db8::1]:4711', '2001:db8:0:0'],
  [
    'a client’s own word, left of its address, counts nothing',
    proxy,
    '10.9.9.9, 203.0.113.7',
    '203.0.113.7',
  ],
  [
    'a hundred addresses before it count nothing either',
    proxy,
    `${padding}, 203.0.113.7`,
    '203.0.113.7',
  ],
  [
    'a chain of trusted proxies is followed',
    proxy,
    '203.0.113.7, 10.0.0.2, 10.0.0.3',
    '203.0.113.7',
  ],
  [
    'an unreadable address is the last proxy’s',
    proxy,
    '203.0.113.7, unknown, 10.0.0.3',
    '10.0.0.3',
  ],
  ['an empty entry is the proxy’s', proxy, '203.0.113.7,', proxy],
  ['a peer that is no trusted proxy names nobody', other, '203.0.113.7', other],
]

const standard: typeof cases = [
  ['no header leaves the proxy’s own address', proxy, '', proxy],
  ['a client has the address that its proxy saw', proxy, 'for=203.0.113.7', '203.0.113.7'],
  [
    'case, order and further parts make no difference',
    proxy,
    'proto=https;FOR="203.0.113.7:47";by=_me;host="a.example:443"',
    '203.0.113.7',
  ],
  ['IPv6 stands in quotes and brackets', proxy, 'for="[2001:db8:1:2:3::4]:80"', '2001:db8:1:2'],
  [
    'a chain of trusted proxies is followed',
    proxy,
    'for=10.9.9.9, for=203.0.113.7, for=10.0.0.2;proto=http, for="10.0.0.3"',
    '203.0.113.7',
  ],
  ['an unreadable address is the last proxy’s', proxy, 'for=203.0.113.7, for=_x', proxy],
  ['two addresses in one element are none', proxy, 'for=203.0.113.7;for=203.0.113.8', proxy],
  ['what is no such list is none', proxy, '203.0.113.7', proxy],
  ['a peer that is no trusted proxy names nobody', other, 'for=203.0.113.7', other],
]

suite('The address of a client', () => {
  for (const [title, from, header, group] of standard)
    test(`Behind trusted proxies that write Forwarded, ${title}`, async () => {
      const by = [[proxy, '10.0.0.0/8'], 'forwarded'] as const
      // A proxy of the one kind passes the other header on as its client wrote it.
      const headers = { forwarded: header, 'x-forwarded-for': '198.51.100.9' }
      assert.equal(await groupOf(from, headers, ...by), group)
    })

  for (const [title, from, header, group] of cases)
    test(`Behind trusted proxies, ${title}`, async () => {
      const headers = { 'x-forwarded-for': header, forwarded: 'for=198.51.100.9' }
      assert.equal(await groupOf(from, headers, [proxy, '10.0.0.0/8']), group)
    })

  test('Without trusted proxies the header is not read', async () => {
    const headers = { 'x-forwarded-for': '203.0.113.7', forwarded: 'for=203.0.113.7' }
    assert.equal(await groupOf(proxy, headers, []), proxy)
    assert.equal(await groupOf(proxy, headers, [], 'forwarded'), proxy)
  })

  test('A proxy is an address or a network, and never all addresses', () => {
    const server = (proxies: readonly string[]) =>
      configSchema.shape.server.safeParse({ trusted_proxies: proxies }).success
    for (const good of ['127.0.0.1', '::1', '10.0.0.0/8', 'fd00::/8'])
      assert.ok(server([good]), good)
    for (const bad of [
      'localhost',
      '10.0.0.0/33',
      '0.0.0.0/0',
      '::/0',
      '::/00',
      '10.0.0.1/8/8',
      '',
    ])
      assert.ok(!server([bad]), bad)
  })
})

async function groupOf(
  from: string,
  headers: Readonly<Record<string, string>>,
  proxies: readonly string[],
  by: ProxyHeader = 'x-forwarded-for',
): Promise<string> {
  const server = createServer((incoming, outgoing) => outgoing.end(clientGroup(incoming)))
  rememberClients(server, proxies, by)
  server.listen(0, '127.0.0.1')
  try {
    await once(server, 'listening')
    const asked = request({
      port: (server.address() as AddressInfo).port,
      host: '127.0.0.1',
      localAddress: from,
      agent: false,
      headers: Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== '')),
    })
    asked.end()
    const [response] = (await once(asked, 'response')) as [IncomingMessage]
    let text = ''
    for await (const chunk of response) text += String(chunk)
    return text
  } finally {
    server.close()
  }
}
