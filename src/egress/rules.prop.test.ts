import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { allControls, meet, type NetworkControl } from '../contract/controls.ts'
import { decide, type EgressRequest } from './rules.ts'

const pattern = fc
  .tuple(
    fc.constantFrom('', '', 'GET ', 'POST '),
    fc.constantFrom('*', 'http', 'https', 'wss', 'tcp'),
    fc.constantFrom('*', '*.a.example', 'x.a.example', 'b.example', '[2606:4700::1]'),
    fc.constantFrom('*', '80', '443'),
    fc.constantFrom('', '', '/v1/*', '/v1/x', '/*'),
  )
  .map(([method, scheme, host, port, path]) => `${method}${scheme}://${host}:${port}${path}`)
const network: fc.Arbitrary<NetworkControl> = fc.record({
  allow: fc.oneof(fc.constant('any' as const), fc.array(pattern, { maxLength: 4 })),
  deny: fc.array(pattern, { maxLength: 3 }),
})
const place = {
  host: fc.constantFrom('x.a.example', 'a.example', 'b.example', '[2606:4700::1]'),
  port: fc.constantFrom(80, 443),
}
const scheme = fc.constantFrom('http' as const, 'https' as const, 'wss' as const)
const method = fc.constantFrom('GET', 'POST', 'PUT')
const path = fc.constantFrom('/', '/v1/x', '/v1/y', '/v2', '/v1/../x', '//v1', '/v1/%2e%2e')
const seen: fc.Arbitrary<EgressRequest> = fc.record({ scheme, ...place, method, path })
const unseen: fc.Arbitrary<EgressRequest> = fc.record({
  ...place,
  scheme: fc.constantFrom('https' as const, 'tcp' as const),
})
const isLetOut = (rules: NetworkControl, request: EgressRequest): boolean =>
  decide(rules, request).verdict === 'allowed'

test('The meet of two networks permits exactly the requests that both permit', () => {
  const request = fc.oneof(seen, unseen)
  fc.assert(
    fc.property(network, network, request, (a, b, to) => {
      const both = meet({ ...allControls, network: a }, { ...allControls, network: b }).network
      assert.equal(isLetOut(both, to), isLetOut(a, to) && isLetOut(b, to))
    }),
    { numRuns: 5000 },
  )
})

test('An opaque tunnel is permitted only if every request it could carry is', () => {
  fc.assert(
    fc.property(network, unseen, seen, (rules, to, inside) => {
      if (!isLetOut(rules, to)) return
      const scheme = to.scheme === 'tcp' ? inside.scheme : to.scheme
      assert(isLetOut(rules, { ...inside, scheme, host: to.host, port: to.port }))
    }),
    { numRuns: 5000 },
  )
})
