import assert from 'node:assert/strict'
import { test } from 'node:test'
import { allControls, canonicalControls, noNetwork, type Controls } from '../contract/controls.ts'
import { channelsToRevoke, type ChannelEnds, type ZoneRights } from './channel-reach.ts'

const host = (name: string) => `https://${name}.example:443`
const withNetwork = (...names: readonly string[]): Controls => ({
  ...allControls,
  network: { allow: names.map(host), deny: [] },
})
const none: Controls = { ...allControls, network: noNetwork }
/** Controls of a zone without losses. */
const keeps = (has: Controls): ZoneRights => ({ had: has, has })

/** `from-to` of each revoked channel, with the losing zone. */
function closed(zones: Readonly<Record<string, ZoneRights>>, channels: readonly string[]) {
  const open = channels.map((one): ChannelEnds => {
    const [from, to] = one.split('-')
    return { from: from!, to: to! }
  })
  return channelsToRevoke(new Map(Object.entries(zones)), open).map(
    ({ channel, zone }) => `${channel.from}-${channel.to} ${zone}`,
  )
}

test('S2-18: a zone that lost the network reaches it neither at its neighbour nor behind a zone that never had it', () => {
  const x = { had: withNetwork('a'), has: none }
  const out = keeps(withNetwork('a'))
  assert.deepEqual(closed({ x, out }, ['x-out']), ['x-out x'])
  const zones = { x, relay: keeps(none), far: keeps(none), out }
  const chain = ['x-relay', 'relay-far', 'far-out']
  assert.deepEqual(closed(zones, chain), ['x-relay x'])
  // Every path closes, but only at channels of the losing zone.
  assert.deepEqual(closed(zones, ['x-out', ...chain, 'x-far']), ['x-out x', 'x-relay x', 'x-far x'])
})

test('S2-18: channels count in both directions, since answers carry data back', () => {
  const zones = {
    main: keeps(withNetwork('a')),
    x: { had: withNetwork('a'), has: none },
    shared: keeps(none),
  }
  assert.deepEqual(closed(zones, ['main-x']), ['main-x x'])
  assert.deepEqual(closed(zones, ['main-shared', 'x-shared']), ['x-shared x'])
})

test('Channels that lead to no holder of the lost right stay open', () => {
  const x = { had: withNetwork('a', 'b'), has: withNetwork('b') }
  const lost = { had: withNetwork('a'), has: none }
  const alone = { x, relay: keeps(none), out: keeps(withNetwork('a')) }
  assert.deepEqual(closed(alone, ['x-relay']), [], 'nobody behind it has it')
  const other = { x, out: keeps(withNetwork('b', 'c')) }
  assert.deepEqual(closed(other, ['x-out']), [], 'it has what was never had, and what was not lost')
  assert.deepEqual(closed({ x: keeps(none), out: keeps(withNetwork('a')) }, ['x-out']), [])
  // All of them lost it, as when the whole program is tightened.
  const whole = { main: lost, x: lost, relay: keeps(none) }
  assert.deepEqual(closed(whole, ['main-x', 'x-relay', 'main-relay']), [])
  // Channels between two losers stay open, in either order.
  const two = { x: lost, y: lost, out: keeps(withNetwork('a')) }
  assert.deepEqual(closed(two, ['x-y', 'y-out']), ['y-out y'])
  assert.deepEqual(closed(two, ['y-out', 'x-y']), ['y-out y'])
})

test('Each control is judged separately', () => {
  const x = { had: allControls, has: { ...allControls, io: 10 } }
  assert.deepEqual(closed({ x, slow: keeps({ ...allControls, io: 10 }) }, ['x-slow']), [])
  assert.deepEqual(closed({ x, fast: keeps({ ...none, io: 11 }) }, ['x-fast']), ['x-fast x'])
  const named = (...capabilities: readonly string[]): Controls => ({ ...none, capabilities })
  const y = { had: named('read', 'write'), has: named('read') }
  assert.deepEqual(closed({ y, reads: keeps(named('read', 'send')) }, ['y-reads']), [])
  assert.deepEqual(closed({ y, writes: keeps(named('write')) }, ['y-writes']), ['y-writes y'])
})

test('Networks too large to compare count as overlapping', () => {
  const many = (count: number, text: (at: number) => string): Controls =>
    canonicalControls({
      ...allControls,
      network: { allow: Array.from({ length: count }, (_, at) => text(at)), deny: [] },
    })
  // The cross product of both has more patterns than a network may have.
  const hosts = many(100, (at) => `https://h${at}.example:*`)
  const ports = many(100, (at) => `https://*.example:${at + 1}`)
  const x = { had: hosts, has: none }
  assert.deepEqual(closed({ x, out: keeps(ports) }, ['x-out']), ['x-out x'])
  const elsewhere = many(100, (at) => `https://*.other:${at + 1}`)
  assert.deepEqual(closed({ x, out: keeps(elsewhere) }, ['x-out']), [])
})
