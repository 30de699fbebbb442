import assert from 'node:assert/strict'
import { test } from 'node:test'
import { allControls, meet } from '../contract/controls.ts'
import { networkOf, type NetworkInput } from '../contract/network.ts'
import { decide, needsInspection, type EgressRequest } from './rules.ts'

const to = (
  scheme: EgressRequest['scheme'],
  host: string,
  port: number,
  more: Pick<EgressRequest, 'method' | 'path'> = {},
): EgressRequest => ({ scheme, host, port, ...more })
const allow = (...hosts: string[]): NetworkInput => ({ allow: hosts })
const deny = (...hosts: string[]): NetworkInput => ({ deny: hosts })
const get = (path: string) => ({ method: 'GET', path })

const table: readonly (readonly [NetworkInput, EgressRequest, 'allowed' | 'denied', RegExp])[] = [
  ['none', to('https', 'a.example', 443), 'denied', /no network/],
  ['open', to('https', 'a.example', 443), 'allowed', /"\*:\/\/\*:\*" is allowed/],
  ['open', to('tcp', 'a.example', 22), 'allowed', /allowed/],
  [allow('a.example'), to('https', 'a.example', 443), 'allowed', /"https:\/\/a\.example:443"/],
  [allow('a.example'), to('https', 'a.example', 8443), 'denied', /no rule allows/],
  [allow('a.example'), to('http', 'a.example', 80), 'denied', /no rule allows/],
  [allow('a.example'), to('tcp', 'a.example', 443), 'denied', /hidden or ambiguous/],
  [allow('a.example'), to('wss', 'a.example', 443), 'denied', /no rule allows/],
  [allow('a.example'), to('https', 'a.example.evil.example', 443), 'denied', /no rule allows/],
  [allow('a.example'), to('https', 'evila.example', 443), 'denied', /no rule allows/],
  [allow('a.example'), to('https', 'b.a.example', 443), 'denied', /no rule allows/],
  [allow('*.a.example'), to('https', 'b.a.example', 443), 'allowed', /"https:\/\/\*\.a/],
  [allow('*.a.example'), to('https', 'c.b.a.example', 443), 'allowed', /allowed/],
  [allow('*.a.example'), to('https', 'a.example', 443), 'denied', /no rule allows/],
  [allow('*.a.example'), to('https', 'xa.example', 443), 'denied', /no rule allows/],
  [allow('tcp://a.example:22'), to('tcp', 'a.example', 22), 'denied', /hidden or ambiguous/],
  [allow('*://a.example:22'), to('tcp', 'a.example', 22), 'allowed', /allowed/],
  [deny('https://bad.example'), to('tcp', 'bad.example', 443), 'denied', /is denied/],
  [deny('https://bad.example'), to('tcp', 'bad.example', 22), 'allowed', /allowed/],
  [deny('https://bad.example'), to('wss', 'bad.example', 443), 'denied', /is denied/],
  [deny('http://bad.example'), to('ws', 'bad.example', 80), 'denied', /is denied/],
  [deny('bad.example:80'), to('ws', 'bad.example', 80), 'denied', /is denied/],
  [deny('bad.example:80'), to('https', 'bad.example', 80), 'denied', /is denied/],
  [deny('bad.example:443'), to('wss', 'bad.example', 443), 'denied', /is denied/],
  [deny('bad.example:443'), to('https', 'bad.example', 8443), 'allowed', /allowed/],
  [deny('wss://bad.example'), to('https', 'bad.example', 443, get('/x')), 'allowed', /allowed/],
  [deny('bad.example'), to('https', 'bad.example', 443), 'denied', /"\*:.*bad.* is denied/],
  [deny('bad.example'), to('https', 'good.example', 443), 'allowed', /allowed/],
  [deny('*.bad.example'), to('http', 'x.bad.example', 80), 'denied', /is denied/],
  [allow('dns.example'), to('tcp', 'dns.example', 853), 'denied', /no rule allows/],
  [allow('a.example/v1/*'), to('https', 'a.example', 443, get('/v1/x')), 'allowed', /v1/],
  [allow('a.example/v1/*'), to('https', 'a.example', 443, get('/v2/x')), 'denied', /another/],
  [allow('a.example/v1/*'), to('https', 'a.example', 443, get('/v1')), 'denied', /another/],
  [allow('a.example/v1/*'), to('https', 'a.example', 443), 'denied', /hidden or ambiguous/],
  [
    allow('a.example/v1/*'),
    to('https', 'a.example', 443, get('/v1/../x')),
    'denied',
    /hidden or ambiguous/,
  ],
  [
    allow('a.example/v1/*'),
    to('https', 'a.example', 443, get('/v1/%2e%2e/x')),
    'denied',
    /hidden or ambiguous/,
  ],
  [
    allow('a.example/v1/*'),
    to('https', 'a.example', 443, get('/v1/a%2f..')),
    'denied',
    /hidden or ambiguous/,
  ],
  ...[
    // Overlong UTF-8, characters that compatibility mappings turn into dots and slashes, and segments of dots and spaces.
    '/v1/%c0%ae%c0%ae/x',
    '/v1/..%c0%afx',
    '/v1/..%ff/x',
    '/v1/%ef%bc%8e%ef%bc%8e/x',
    '/v1/%e2%80%a5/x',
    '/v1/..%ef%bc%8fx',
    '/v1/..%ef%bc%bcx',
    '/v1/..%20/x',
    '/v1/.%20./x',
    '/v1/..%c2%a0/x',
    '/v1/.../x',
  ].map(
    (path) =>
      [
        allow('a.example/v1/*'),
        to('https', 'a.example', 443, get(path)),
        'denied',
        /hidden or ambiguous/,
      ] as const,
  ),
  ...[
    '/v1/Apple_Inc.',
    '/v1/a%20b',
    '/v1/%e6%97%a5%e6%9c%ac',
    '/v1/.well-known/x',
    '/v1/a...b',
  ].map(
    (path) =>
      [allow('a.example/v1/*'), to('https', 'a.example', 443, get(path)), 'allowed', /v1/] as const,
  ),
  [allow('a.example/v1/*'), to('https', 'a.example', 443, get('/%761/x')), 'allowed', /v1/],
  [allow('GET a.example'), to('https', 'a.example', 443, get('/')), 'allowed', /GET/],
  [
    allow('GET a.example'),
    to('https', 'a.example', 443, { method: 'POST', path: '/' }),
    'denied',
    /another method/,
  ],
  [allow('GET a.example'), to('https', 'a.example', 443), 'denied', /hidden or ambiguous/],
  [deny('a.example/admin/*'), to('https', 'a.example', 443, get('/x')), 'allowed', /allowed/],
  [deny('a.example/admin/*'), to('https', 'a.example', 443, get('/admin/x')), 'denied', /denied/],
  [deny('a.example/admin/*'), to('https', 'a.example', 443, get('//admin/x')), 'denied', /denied/],
  [deny('a.example/admin/*'), to('https', 'a.example', 443), 'denied', /is denied/],
  [allow('a.example'), to('https', 'a.example', 443, get('/a//../b')), 'allowed', /allowed/],
]
for (const [network, request, verdict, because] of table) {
  const { scheme, host, port, method = '', path = '' } = request
  test(`${JSON.stringify(network)}: ${method} ${scheme}://${host}:${port}${path} is ${verdict}`, () => {
    const said = decide(networkOf(network), request)
    assert.equal(said.verdict, verdict)
    assert.match(said.because, because)
  })
}

test('S1-9: a denied host is refused although another rule allows it, if the job or its ceiling denies it', () => {
  const ofNetwork = (network: NetworkInput) => ({ ...allControls, network: networkOf(network) })
  const wide = ofNetwork(allow('a.example', '*.a.example'))
  const named = ofNetwork(allow('a.example', 'b.a.example'))
  const denying = ofNetwork(deny('b.a.example'))
  for (const allowing of [wide, named])
    for (const { network } of [meet(allowing, denying), meet(denying, allowing)]) {
      assert.equal(decide(network, to('https', 'b.a.example', 443)).verdict, 'denied')
      assert.equal(decide(network, to('https', 'a.example', 443)).verdict, 'allowed')
    }
  for (const { network } of [meet(wide, denying), meet(denying, wide)]) {
    const { because } = decide(network, to('https', 'b.a.example', 443))
    assert.match(because, /b\.a.* is denied$/)
    assert.equal(decide(network, to('https', 'c.a.example', 443)).verdict, 'allowed')
  }
})

test('TLS inspection is needed only for hosts with rules on methods or paths', () => {
  const network = networkOf(allow('a.example/v1/*', 'b.example'))
  assert.equal(needsInspection(network, to('https', 'a.example', 443)), true)
  assert.equal(needsInspection(network, to('https', 'b.example', 443)), false)
  assert.equal(needsInspection(networkOf(deny('b.example/x')), to('https', 'b.example', 443)), true)
})
