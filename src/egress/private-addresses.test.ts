import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { networkInterfaces } from 'node:os'
import { test } from 'node:test'
import { addressKind } from '../contract/address.ts'
import { configuredNetworkOf, networkOf } from '../contract/network.ts'
import { addressesFor, addressesIn, dialHost } from './dial.ts'
import { translatorName, translatorPrefixes } from './network-translator.ts'
import { privateReach } from './private-addresses.ts'
import type { EgressRequest } from './rules.ts'
import { simulate } from './simulate.ts'

const rules = (...hosts: string[]) =>
  configuredNetworkOf({ allow: hosts.map((host) => ({ host, private: true })) }).private ?? []
const https = (host: string, port = 443, more: Partial<EgressRequest> = {}): EgressRequest => ({
  scheme: 'https',
  host,
  port,
  ...more,
})

/** Addresses a request may be dialled at, or the refusal; each name resolves to the entries of its list in turn. */
async function found(
  request: EgressRequest,
  hosts: readonly string[],
  answers: readonly (readonly string[])[] = [],
  ownPorts: readonly number[] = [],
) {
  let asked = 0
  const resolver = (name: string) =>
    Promise.resolve(name === 'ipv4only.arpa' ? [] : (answers[asked++] ?? []))
  const options = { resolver, privateHosts: hosts, ownPorts: () => new Set(ownPorts) }
  const result = await addressesFor(request, options)
  assert.ok(asked <= 1, 'a name was asked for twice')
  return 'kind' in result ? `${result.because} | ${result.detail ?? ''}` : result
}

test('A private address is reached only by a rule for its name or address', async () => {
  const ten = [['10.0.0.5']]
  const own = rules('registry.corp.example', '*.in.corp.example', 'https://10.0.0.5:8443')
  assert.deepEqual(await found(https('registry.corp.example'), own, ten), ['10.0.0.5'])
  assert.deepEqual(await found(https('a.in.corp.example'), own, ten), ['10.0.0.5'])
  assert.deepEqual(await found(https('10.0.0.5', 8443), own), ['10.0.0.5'])
  for (const kind of ['172.16.9.9', '192.168.1.1', '100.64.0.1', 'fd12:3456::1'])
    assert.deepEqual(await found(https('registry.corp.example'), own, [[kind]]), [kind])
  for (const request of [
    https('other.corp.example'),
    https('in.corp.example'),
    https('registry.corp.example', 8443),
    https('registry.corp.example', 443, { scheme: 'http' }),
  ])
    assert.match(
      String(await found(request, own, ten)),
      /not public, which takes a rule .* private = true/,
    )
  assert.match(String(await found(https('10.0.0.5'), own)), /a private network, and no rule/)
})

test('A deny rule for an address counts for names that resolve to it', async () => {
  const network = networkOf({ deny: ['*://93.184.216.34:*', '[2001:4860:0::8]', 'GET *://*/x'] })
  const dial = async (host: string, address: string, port = 443) =>
    await addressesFor(https(host, port), {
      resolver: () => Promise.resolve([address]),
      network: () => network,
      exceptions: ['93.184.216.34:443'],
    })
  for (const [host, address] of [
    ['a.example', '93.184.216.34'],
    ['a.example', '2001:4860::8'],
    ['a.example', '64:ff9b::5db8:d822'],
    ['[64:ff9b::5db8:d822]', ''],
  ] as const) {
    for (const port of [443, 8443]) {
      const said = await dial(host, address, port)
      assert.ok('kind' in said && said.because.includes('denied address'), `${host} ${address}`)
    }
  }
  assert.deepEqual(await dial('[64:ff9b::5db8:d823]', ''), ['64:ff9b::5db8:d823'])
  for (const address of ['93.184.216.35', '64:ff9b::5db8:d823'])
    assert.deepEqual(await dial('a.example', address), [address])
})

/** Network whose DNS64 has a prefix, in which `a.example` has an IPv4 address. */
function networkWith(prefix: string, embedded: (four: string) => string, four: string) {
  let asked = 0
  const resolver = (name: string) => {
    if (name !== 'ipv4only.arpa') return Promise.resolve([`${prefix}${embedded(four)}`])
    asked++
    const own = ['192.0.0.170', '192.0.0.171']
    return Promise.resolve([...own, ...own.map((one) => `${prefix}${embedded(one)}`)])
  }
  return { resolver, asked: () => asked }
}

const hex = (four: string) =>
  four.split('.').map((part) => Number(part).toString(16).padStart(2, '0'))
/** Forms of RFC 6052, section 2.2: the octet after the 64th bit stays zero. */
const embeddings: readonly (readonly [prefix: string, embedded: (four: string) => string])[] = [
  ['2a02:1234', (four) => (([a, b, c, d]) => `:${a}${b}:${c}${d}::`)(hex(four))],
  ['2a02:1234:12', (four) => (([a, b, c, d]) => `${a}:${b}${c}:00${d}::`)(hex(four))],
  ['2a02:1234:1222', (four) => (([a, b, c, d]) => `:${a}${b}:00${c}:${d}00::`)(hex(four))],
  ['2a02:1234:1222:33', (four) => (([a, b, c, d]) => `${a}:00${b}:${c}${d}::`)(hex(four))],
  ['2a02:1234:1222:3344', (four) => (([a, b, c, d]) => `:00${a}:${b}${c}:${d}00::`)(hex(four))],
  ['2a02:1234:1222:3344:0:0', (four) => (([a, b, c, d]) => `:${a}${b}:${c}${d}`)(hex(four))],
]

test('Attack: an IPv4 address behind a NAT64 prefix of the network is as closed as itself', async () => {
  for (const [prefix, embedded] of embeddings) {
    const reached = async (four: string, deny: readonly string[] = [], host = 'a.example') => {
      const { resolver } = networkWith(prefix, embedded, four)
      const options = { resolver, network: () => networkOf({ deny }) }
      const found = await addressesFor(https(host), options)
      return 'kind' in found ? (found.detail ?? found.because) : 'reached'
    }
    const literal = (four: string) => `[${prefix}${embedded(four)}]`
    assert.match(await reached('10.0.0.5'), /private network/, prefix)
    assert.match(await reached('9.9.9.9', [], literal('10.0.0.5')), /private network/, prefix)
    assert.match(await reached('9.9.9.9', [], literal('169.254.1.1')), /link-local/, prefix)
    assert.match(await reached('8.8.8.8', ['9.9.9.9'], literal('9.9.9.9')), /denied by/, prefix)
    assert.match(await reached('169.254.169.254'), /link-local/, prefix)
    assert.match(await reached('9.9.9.9', ['9.9.9.9']), /denied by/, prefix)
    assert.equal(await reached('9.9.9.9', ['9.9.9.8']), 'reached', prefix)
  }
})

test('The NAT64 prefix is looked up once, before an IPv6 address alone, and again after an empty answer', async () => {
  const [prefix, embedded] = embeddings[5]!
  const { resolver, asked } = networkWith(prefix, embedded, '9.9.9.9')
  for (let n = 0; n < 3; n++) await addressesFor(https('a.example'), { resolver })
  assert.equal(asked(), 1)
  const told: string[] = []
  const four = (name: string) => (told.push(name), Promise.resolve(['9.9.9.9']))
  await addressesFor(https('a.example'), { resolver: four })
  assert.deepEqual(told, ['a.example'])
  const own = `${prefix}${embedded('192.0.0.170')}`
  const gone = [['192.0.0.170', own], ['192.0.0.170'], []]
  const key = {}
  for (const at of [0, 700_000, 1_400_000]) {
    const kept = await translatorPrefixes(() => Promise.resolve(gone.shift()!), key, at)
    assert.equal(kept.length, 1, `${at}`)
  }
  const answers = [[], ['192.0.0.170', `${prefix}${embedded('192.0.0.170')}`]]
  const late = (name: string) =>
    Promise.resolve(name === 'a.example' ? [`${prefix}${embedded('10.0.0.5')}`] : answers.shift()!)
  assert.ok(Array.isArray(await addressesFor(https('a.example'), { resolver: late })))
  assert.ok('kind' in (await addressesFor(https('a.example'), { resolver: late })))
})

test('Half an answer about the prefix of NAT64 is none, and that of any other name has its addresses', () => {
  const four = { status: 'fulfilled', value: ['192.0.0.170'] } as const
  const failed = (code: string) => ({ status: 'rejected', reason: { code } }) as const
  for (const code of ['ESERVFAIL', 'ETIMEOUT', 'ECANCELLED']) {
    assert.throws(() => addressesIn(translatorName, [four, failed(code)]), { code })
    assert.deepEqual(addressesIn('a.example', [four, failed(code)]), four.value)
  }
  assert.deepEqual(addressesIn(translatorName, [four, failed('ENODATA')]), four.value)
})

test('Look-ups of the prefix of NAT64 are shared, and after one without an answer the next is waited for a moment only', async () => {
  const key = {}
  const lookups: PromiseWithResolvers<string[]>[] = []
  const resolve = () => {
    lookups.push(Promise.withResolvers())
    return lookups.at(-1)!.promise
  }
  const ask = () => translatorPrefixes(resolve, key, 0)
  const first = [ask(), ask()]
  lookups[0]!.resolve([])
  assert.deepEqual(await Promise.all(first), [[], []])
  // Never answered: a wait for the answer would not end.
  const keepAlive = setInterval(() => undefined, 1000)
  await Promise.all([ask(), ask()])
  clearInterval(keepAlive)
  lookups[1]!.resolve(['192.0.0.170', '2001:db8::c000:aa'])
  assert.equal((await ask()).length, 1)
  assert.equal(lookups.length, 2)
})

test('The guest learns that a name is not public, and only the operator learns its address', async () => {
  const said = String(await found(https('db.corp.example'), [], [['10.1.2.3']]))
  const [guest, operator] = said.split(' | ')
  assert.ok(!guest?.includes('10.1.2.3') && operator?.includes('10.1.2.3'), said)
})

test('Link-local, metadata, multicast and embedded addresses stay closed under every rule', async () => {
  const own = rules('any.corp.example', '*.corp.example')
  for (const address of [
    '169.254.169.254',
    '168.63.129.16',
    '100.100.100.200',
    'fd00:ec2::254',
    'fd20:ce::254',
    'fe80::1',
    '224.0.0.1',
    'ff02::1',
    '0.0.0.0',
    '255.255.255.255',
    '::ffff:10.0.0.5',
    '64:ff9b::a00:5',
    '2002:a00:5::',
    '127.0.0.1',
    '::1',
  ])
    assert.equal(
      typeof (await found(https('any.corp.example'), own, [[address]])),
      'string',
      address,
    )
  const both = [['10.0.0.5', '169.254.169.254']]
  assert.match(String(await found(https('any.corp.example'), own, both)), /metadata/)
})

test('A name rebound between check and dial is not resolved again', async () => {
  const answers = [['10.0.0.5'], ['169.254.169.254']]
  assert.deepEqual(await found(https('a.corp.example'), rules('*.corp.example'), answers), [
    '10.0.0.5',
  ])
})

test('Loopback takes a rule for its exact address and port, and ports of Mayfly stay closed', async () => {
  const own = rules('http://127.0.0.1:8080', '[::1]:9000')
  const plain = (port: number) => https('127.0.0.1', port, { scheme: 'http' })
  assert.deepEqual(await found(plain(8080), own), ['127.0.0.1'])
  assert.match(String(await found(plain(8081), own)), /exactly this address and port/)
  assert.match(String(await found(plain(8080), own, [], [8080])), /a port of Mayfly itself/)
  assert.match(String(await found(plain(8080), [])), /exactly this address and port/)
  assert.match(String(await found(https('127.0.0.2', 8080, { scheme: 'http' }), own)), /loopback/)
  const named = rules('loop.corp.example')
  assert.match(
    String(await found(https('loop.corp.example'), named, [['127.0.0.1']])),
    /not public/,
  )
})

test('Addresses of this machine are as closed as loopback', async (t) => {
  const all = Object.values(networkInterfaces()).flatMap((one) => one ?? [])
  const one = all.find(
    ({ family, internal, address }) =>
      family === 'IPv4' && !internal && addressKind(address).kind !== 'never',
  )
  if (!one) return t.skip('this machine has no address but loopback and reserved ones')
  const named = rules('self.corp.example')
  assert.match(
    String(await found(https('self.corp.example'), named, [[one.address]])),
    /not public/,
  )
  const exact = await found(https(one.address, 99), rules(`https://${one.address}:99`))
  assert.deepEqual(exact, [one.address])
})

test('A private rule for a method or path covers nothing else', () => {
  const own = rules('GET https://registry.corp.example/npm/*')
  const at = (more: Partial<EgressRequest>) =>
    privateReach(https('registry.corp.example', 443, more), own)
  assert.equal(at({ method: 'GET', path: '/npm/x' }), 'network')
  assert.equal(at({ method: 'PUT', path: '/npm/x' }), 'none')
  assert.equal(at({ method: 'GET', path: '/admin' }), 'none')
  assert.equal(at({}), 'none', 'a tunnel that stays closed could be asked anything')
  const overridden = at({ method: 'GET', path: '/npm/x', overriddenBy: 'x-http-method-override' })
  assert.equal(overridden, 'none')
})

test('Rules for addresses that may never be private are refused at parse time', () => {
  for (const host of [
    '*',
    '*://*:*',
    '169.254.169.254',
    'http://100.100.100.200',
    'localhost',
    'a.localhost:80',
    'metadata.google.internal',
    '*://127.0.0.1:*',
    '224.0.0.1',
  ])
    assert.throws(() => rules(host), /Cannot let/, host)
})

test('Policy simulation reports private reach, and denies private addresses without a rule', () => {
  const network = { allow: 'any', deny: [] } as const
  const verdict = (url: string, hosts: readonly string[]) => simulate(network, url, 'GET', hosts)
  const own = rules('registry.corp.example', 'http://10.0.0.5:8080')
  assert.match(verdict('https://registry.corp.example/', own).because, /also where .* private/)
  assert.equal(verdict('http://10.0.0.5:8080/', own).verdict, 'allowed')
  assert.equal(verdict('http://10.0.0.5:8081/', own).verdict, 'denied')
  assert.match(verdict('http://10.0.0.5:8080/', []).because, /private = true/)
  assert.match(verdict('http://169.254.169.254/', own).because, /link-local/)
})

const numbered = (count: number, of: (n: number) => string) =>
  Array.from({ length: count }, (_, n) => of(n + 1))

test('A host with twelve addresses of each family is reached, and each of them is judged', async () => {
  const all = [
    ...numbered(12, (n) => `104.16.${n}.34`),
    ...numbered(12, (n) => `2606:4700::6810:${n}22`),
  ]
  assert.deepEqual(await found(https('registry.example'), [], [all]), all)
  for (const bad of ['10.0.0.5', '169.254.169.254', '::ffff:127.0.0.1'])
    for (const with1 of [[...all, bad], all.with(12, bad)])
      assert.match(String(await found(https('registry.example'), [], [with1])), /not public/, bad)
  const denied = networkOf({ deny: ['104.16.12.34'] })
  const options = { resolver: () => Promise.resolve(all), network: () => denied }
  const refusal = await addressesFor(https('registry.example'), options)
  assert.ok('kind' in refusal && /resolves to a denied address/.test(refusal.because))
  const many = numbered(65, (n) => `104.16.0.${n}`)
  assert.match(String(await found(https('a.example'), [], [many])), /more than 64 addresses/)
})

test('A host is dialled at its addresses of both families in turn, and at eight of them at most', async (t) => {
  const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  // The others refuse at once: they have no listener.
  const dead = numbered(20, (n) => `127.0.0.${n + 1}`)
  const live = '::ffff:127.0.0.1'
  const dialled = async (all: readonly string[]) => {
    const exceptions = all.map((one) => (one.includes(':') ? `[${one}]:${port}` : `${one}:${port}`))
    const options = { resolver: () => Promise.resolve(all), exceptions }
    const end = await dialHost(https('a.example', port), options)
    if (end.kind === 'refused') return end.because
    end.socket.destroy()
    return end.address
  }
  assert.equal(await dialled([...dead, live]), live)
  assert.equal(await dialled([...dead.slice(0, 7), '127.0.0.1']), '127.0.0.1')
  assert.match(String(await dialled([...dead.slice(0, 8), '127.0.0.1'])), /does not answer/)
})
