import { test } from 'node:test'
import assert from 'node:assert/strict'
import { configSchema } from './config.ts'
import { allControls, isWithin, meet, noNetwork } from './controls.ts'
import { networkAsked } from './job.ts'
import { type BareHost, networkOf, parsePattern } from './network.ts'

const readings: readonly (readonly [string, BareHost, string])[] = [
  ['api.example.com', 'https', 'https://api.example.com:443'],
  ['api.example.com', 'web', 'http://api.example.com:80 https://api.example.com:443'],
  ['api.example.com', 'every', '*://api.example.com:*'],
  ['API.Example.com.', 'https', 'https://api.example.com:443'],
  ['*.cdn.example.net', 'https', 'https://*.cdn.example.net:443'],
  ['https://api.example.com:8443/', 'https', 'https://api.example.com:8443'],
  ['http://example.com', 'https', 'http://example.com:80'],
  ['wss://example.com', 'https', 'wss://example.com:443'],
  ['example.com:0080', 'https', 'http://example.com:80'],
  ['example.com:5432', 'https', '*://example.com:5432'],
  ['example.com:*', 'https', '*://example.com:*'],
  ['dns://*.example.com', 'https', 'dns://*.example.com:53'],
  ['tcp://example.com:22', 'https', 'tcp://example.com:22'],
  ['*', 'https', 'https://*:443'],
  ['*://*', 'every', '*://*:*'],
  ['bücher.example', 'https', 'https://xn--bcher-kva.example:443'],
  ['127.1', 'https', 'https://127.0.0.1:443'],
  ['0x7f.0.0.1:80', 'https', 'http://127.0.0.1:80'],
  ['[::0001]:443', 'https', 'https://[::1]:443'],
  ['https://api.example.com/v1/*', 'https', 'https://api.example.com:443/v1/*'],
  ['GET api.example.com/v1/users', 'https', 'GET https://api.example.com:443/v1/users'],
  ['POST http://api.example.com', 'https', 'POST http://api.example.com:80'],
  ['https://api.example.com/*', 'https', 'https://api.example.com:443'],
  ['api.example.com/%7euser/%c3%a9', 'https', 'https://api.example.com:443/~user/%C3%A9'],
  ['example.com/admin/*', 'every', '*://example.com:*/admin/*'],
  ['example.com/v1/', 'https', 'https://example.com:443/v1/'],
  ['example.com:443', 'every', '*://example.com:443'],
  ['http://example.com/admin/*', 'every', '*://example.com:80/admin/*'],
  ['wss://example.com', 'every', 'wss://example.com:443'],
  ['https://10.0.0.1/8', 'https', 'https://10.0.0.1:443/8'],
]
for (const [text, bare, patterns] of readings)
  test(`"${text}" (${bare}) is ${patterns}`, () =>
    assert.equal(parsePattern(text, bare)?.join(' '), patterns))

const refused = [
  '',
  'a b',
  'https://example.com/a/../b',
  'https://example.com/a/%2e%2e/b',
  'https://example.com/a%2fb',
  'https://example.com/a//b',
  'https://example.com/a*',
  'https://example.com/*/b',
  'https://example.com/a?b=c',
  'https://example.com/a;b',
  `https://example.com/${'a'.repeat(500)}`,
  'get https://example.com',
  'GET  https://example.com',
  'GET ',
  'user@example.com',
  'example.com:0',
  'example.com:65536',
  'tcp://example.com',
  'a.*.example',
  '*example.com',
  '*.10.0.0.1',
  'exa%6dple.com',
  'a..b',
  '.example.com',
  '*..example.com',
  '10.0.0.0/8',
  '[2001:db8::]/32',
  '[::1',
  '://example.com',
  'https://',
]
for (const text of refused)
  test(`"${text}" is no network pattern`, () =>
    assert.equal(parsePattern(text, 'https'), undefined))

test('the word "none" is no network, and "open" is every public address', () => {
  assert.deepEqual(networkOf('none'), noNetwork)
  assert.deepEqual(networkOf('open'), allControls.network)
})

test('equal rights in two notations are equal data', () => {
  const one = networkOf({ allow: ['b.example', '*.example', 'B.example'] })
  assert.deepEqual(one, networkOf({ allow: ['https://*.example:443'] }))
})

test('a bare host to deny is denied on every port', () =>
  assert.deepEqual(networkOf({ deny: ['bad.example'] }), {
    allow: 'any',
    deny: ['*://bad.example:*'],
  }))

test('an invalid pattern is refused with the pattern in the message', () =>
  assert.throws(() => networkOf({ allow: ['a b'] }), /"a b"/))

test('S2-28: byte budgets are part of a network: the smallest given one holds, and an absent one adds none', () => {
  const own = networkOf({ allow: ['a.example'], sent: '1KB', received: 10 })
  assert.deepEqual([own.sent, own.received], [1024, 10])
  const ceiling = networkOf({ deny: ['b.example'], sent: 100 })
  for (const [a, b] of [
    [own, ceiling],
    [ceiling, own],
  ] as const) {
    const both = meet({ ...allControls, network: a }, { ...allControls, network: b }).network
    assert.deepEqual([both.sent, both.received], [100, 10])
  }
  const wider = { ...allControls, network: { ...own, sent: 2048 } }
  assert.equal(isWithin(wider, { ...allControls, network: own }), false)
  assert.equal(isWithin({ ...allControls, network: own }, wider), true)
  assert.deepEqual(networkOf({ allow: [], sent: 5 }), noNetwork)
  assert.throws(() => networkOf({ allow: ['a.example'], sent: 'much' }), /Cannot read the size/)
})

test('A pattern whose first word is no method of HTTP is an error that names it, to allow as to deny', () => {
  for (const word of ['ALL', 'ANY', 'GTE', 'get', 'Delete']) {
    const host = `${word} bad.example`
    // An error of a schema has its messages as JSON.
    const named = new RegExp(
      `"${host}\\\\?" begins with \\\\?"${word}\\\\?", which is no method of HTTP`,
    )
    for (const asked of [{ allow: [host] }, { deny: ['DELETE a.example', host] }]) {
      assert.throws(() => networkOf(asked), named)
      assert.match(String(networkAsked.safeParse(asked).error), named)
      assert.match(String(configSchema.safeParse({ network: asked }).error), named)
    }
    for (const network_policy of [{ AllowList: [host] }, { DenyList: [host] }]) {
      const capability_configs = { x: { network_policy } }
      assert.match(String(configSchema.safeParse({ capability_configs }).error), named)
    }
  }
  const methods = ['GET', 'QUERY', 'PROPFIND', 'LIST', 'PURGE', 'CONNECT']
  const deny = methods.map((word) => `${word} bad.example`)
  assert.equal(networkOf({ deny }).deny.length, methods.length)
})
