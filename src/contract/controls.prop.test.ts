import assert, { AssertionError } from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import {
  allControls,
  assertNarrowed,
  canonicalControls,
  controlNames,
  controlsBeyond,
  controlsSchema,
  isWithin,
  meet,
  noNetwork,
  unlimited,
  type Controls,
} from './controls.ts'
import { parseJson } from '../lib/parse-json.ts'

const pattern = fc
  .tuple(
    fc.constantFrom('*', 'http', 'https'),
    fc.constantFrom(
      '*',
      '*.a.example',
      '*.b.a.example',
      'x.a.example',
      'x.b.a.example',
      '[2001:db8::1]',
    ),
    fc.constantFrom('*', '80', '443'),
    fc.constantFrom('', '', '/a', '/a/*', '/a/b/*', '/a/b/c', '/b/*', '/*'),
    fc.constantFrom('', '', 'GET ', 'POST '),
  )
  .map(([scheme, host, port, path, method]) => `${method}${scheme}://${host}:${port}${path}`)
const folder = fc
  .array(fc.constantFrom('a', 'b', 'ab'), { maxLength: 3 })
  .map((steps) => `/${steps.join('/')}`)
const few = <T>(of: fc.Arbitrary<T>) => fc.array(of, { maxLength: 4 })
const any = fc.constant('any' as const)
const amount = fc.oneof(fc.nat({ max: 3 }), fc.constant(unlimited))
const names = fc.oneof(any, few(fc.constantFrom('one', 'two', 'three', '__proto__')))

const c: fc.Arbitrary<Controls> = fc.record({
  network: fc.record(
    {
      allow: fc.oneof(any, few(pattern)),
      deny: few(pattern),
      sent: fc.nat(9),
      received: fc.nat(9),
    },
    { requiredKeys: ['allow', 'deny'] },
  ),
  files: fc.record({ read: few(folder), write: few(folder) }),
  cpu: amount,
  memory: amount,
  io: amount,
  processes: amount,
  syscalls: names,
  capabilities: names,
})

test('The stricter of two controls does not depend on their order', () => {
  fc.assert(fc.property(c, c, (a, b) => assert.deepEqual(meet(a, b), meet(b, a))))
})

test('The strictest of three controls does not depend on how they are paired', () => {
  fc.assert(
    fc.property(c, c, c, (x, y, z) => assert.deepEqual(meet(meet(x, y), z), meet(x, meet(y, z)))),
    { numRuns: 500 },
  )
})

test('Meeting controls with themselves only canonicalises them', () => {
  fc.assert(
    fc.property(c, (a) => {
      assert.deepEqual(meet(a, a), canonicalControls(a))
      assert.deepEqual(canonicalControls(canonicalControls(a)), canonicalControls(a))
    }),
  )
})

test('Meeting with all rights leaves the other side unchanged', () => {
  fc.assert(fc.property(c, (a) => assert.deepEqual(meet(a, allControls), canonicalControls(a))))
  assert.deepEqual(canonicalControls(allControls), allControls)
})

test('A meeting is within both sides, and is the widest such value', () => {
  fc.assert(
    fc.property(c, c, c, (a, b, lower) => {
      assert(isWithin(meet(a, b), a) && isWithin(meet(a, b), b))
      if (isWithin(lower, a) && isWithin(lower, b)) assert(isWithin(lower, meet(a, b)))
      assert(isWithin(meet(lower, meet(a, b)), meet(a, b)))
    }),
  )
})

test('Meeting with the same third keeps the order of two controls', () => {
  fc.assert(
    fc.property(c, c, c, (a, b, third) =>
      assert(isWithin(meet(meet(a, b), third), meet(a, third))),
    ),
  )
})

test('Being within is reflexive and transitive, and within each other is equal', () => {
  fc.assert(
    fc.property(c, c, c, (a, b, third) => {
      assert(isWithin(a, a))
      const [inner, middle] = [meet(meet(a, b), third), meet(a, b)]
      assert(isWithin(inner, middle) && isWithin(middle, a) && isWithin(inner, a))
      if (isWithin(a, b) && isWithin(b, a))
        assert.deepEqual(canonicalControls(a), canonicalControls(b))
    }),
  )
})

test('A control goes beyond another exactly when it is not within it', () => {
  fc.assert(
    fc.property(c, c, (a, b) => {
      assert.equal(controlsBeyond(a, b).length === 0, isWithin(a, b))
      for (const name of controlsBeyond(a, b)) assert(controlNames.includes(name))
    }),
  )
})

test('A canonical form is valid data and reads the same after JSON', () => {
  fc.assert(
    fc.property(c, c, (a, b) => {
      const both = meet(a, b)
      assert.deepEqual(parseJson(JSON.stringify(both)), controlsSchema.parse(both))
    }),
  )
})

const probes = ['http', 'https', 'ftp'].flatMap((scheme) =>
  ['x.a.example', 'y.a.example', 'x.b.a.example', 'other.example', '[2001:db8::1]'].flatMap(
    (host) =>
      ['80', '443', '1'].flatMap((port) =>
        ['/a', '/a/', '/a/b', '/a/b/c', '/ab', '/'].flatMap((path) =>
          ['GET', 'PUT'].map((method) => ({ method, scheme, host, port, path })),
        ),
      ),
  ),
)

/** Second, deliberately naive implementation of the semantics, as an oracle. */
function lets({ allow, deny }: Controls['network'], to: (typeof probes)[number]): boolean {
  const matches = (text: string) => {
    const [, method, scheme, host, port, path] =
      /^(?:([A-Z]+) )?(.+?):\/\/([^/]+):([^/]+)(\/.*)?$/.exec(text)!
    return (
      [undefined, to.method].includes(method) &&
      (path === undefined ||
        path === to.path ||
        (path.endsWith('/*') && to.path.startsWith(path.slice(0, -1)))) &&
      ['*', to.scheme].includes(scheme!) &&
      (host === '*' ||
        host === to.host ||
        (host!.startsWith('*.') && to.host.endsWith(host!.slice(1)))) &&
      ['*', to.port].includes(port!)
    )
  }
  return (allow === 'any' || allow.some(matches)) && !deny.some(matches)
}

test('A meeting allows exactly the destinations that both sides allow', () => {
  fc.assert(
    fc.property(c, c, (a, b) => {
      const both = meet(a, b)
      for (const to of probes)
        assert.equal(lets(both.network, to), lets(a.network, to) && lets(b.network, to))
    }),
  )
})

function lettingOut(allow: string[], deny: string[] = []): Controls {
  return { ...allControls, network: { allow, deny } }
}

function network(allow: string[], deny: string[]) {
  return canonicalControls(lettingOut(allow, deny)).network
}

test('Allowing every pattern is canonicalised to `any`', () => {
  const every = { ...allControls, network: { allow: ['*://*:*', 'https://a:1'], deny: [] } }
  assert.deepEqual(canonicalControls(every), allControls)
  assert(isWithin(allControls, every))
})

test('Denials that can no longer match are dropped, and patterns denied as a whole are not allowed', () => {
  assert.deepEqual(network(['https://a:443'], ['https://b:443']).deny, [])
  assert.deepEqual(network(['https://a:443'], ['*://*:443']), noNetwork)
  assert.deepEqual(network(['https://*:443'], ['*://a:*']).deny, ['https://a:443'])
})

test('An unreadable pattern allows nothing and denies everything', () => {
  assert.deepEqual(network(['nonsense', '://:', ''], []), noNetwork)
  assert.deepEqual(network(['https://a:443'], ['nonsense']), noNetwork)
  const files = { read: ['', 'a', '/a/../b', '/a/', '/./a', '//a', '/ok'], write: ['..'] }
  const { read, write } = canonicalControls({ ...allControls, files }).files
  assert.deepEqual([read, write], [['/ok'], []])
})

test('Lists at the length bound keep their meaning, and overly complex ones close the network', () => {
  const hosts = Array.from({ length: 1000 }, (_, i) => `https://h${i}.example:443`).sort()
  const long = lettingOut(hosts)
  assert.deepEqual(meet(long, long).network.allow, hosts)
  const schemes = Array.from({ length: 100 }, (_, i) => `s${i}://*:*`)
  const ports = Array.from({ length: 100 }, (_, i) => `*://*:${i}`)
  assert.deepEqual(meet(lettingOut(schemes), lettingOut(ports)).network, noNetwork)
})

test('Amounts that are no number, and a change that opens something, are caught', () => {
  for (const name of ['cpu', 'memory', 'io', 'processes'])
    assert.throws(() => meet(allControls, { ...allControls, [name]: Number.NaN }), AssertionError)
  const shut = { ...allControls, cpu: 1, network: noNetwork }
  assert.throws(() => assertNarrowed(shut, allControls), /opened network, cpu/)
  assertNarrowed(allControls, shut)
})
