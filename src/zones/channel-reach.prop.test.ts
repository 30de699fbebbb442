import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { sampledRuns } from '../../tests/fixtures/drawn.ts'
import { allControls, canonicalControls, meet, type Controls } from '../contract/controls.ts'
import { channelsToRevoke, type ChannelEnds, type ZoneRights } from './channel-reach.ts'

const graphs = sampledRuns(10_000, import.meta.filename)
const names = ['main', 'a', 'b', 'c', 'd']
/** Independent rights of zones: half capabilities, half hosts. */
const things = ['read', 'write', 'send', 'https://x.example:443', 'https://y.example:443']

type Things = readonly string[]
const some: fc.Arbitrary<Things> = fc.subarray(things)
const zone = fc.constantFrom(...names)
const life = fc.record({
  grants: fc.array(some, { minLength: names.length, maxLength: names.length }),
  channels: fc.uniqueArray(
    fc.record({ from: zone, to: zone }).filter(({ from, to }) => from !== to),
    { selector: ({ from, to }) => `${from} ${to}`, maxLength: 12 },
  ),
  /** Rights left at most to one zone, or with `main` to all; or the end of a zone. */
  happenings: fc.array(
    fc.record({ kind: fc.constantFrom('tighten', 'tighten', 'whole', 'end'), zone, to: some }),
    { minLength: 1, maxLength: 5 },
  ),
})

const isCapability = (thing: string) => !thing.startsWith('https:')
function controlsOf(all: Things): Controls {
  return canonicalControls({
    ...allControls,
    network: { allow: all.filter((one) => !isCapability(one)), deny: [] },
    capabilities: all.filter(isCapability),
  })
}

/** Reference model without controls: sets, and every walk of the graph. */
interface Model {
  readonly had: ReadonlySet<string>
  has: ReadonlySet<string>
}

function waysIn(
  model: ReadonlyMap<string, Model>,
  open: readonly ChannelEnds[],
): readonly string[] {
  const near = new Set(open.flatMap(({ from, to }) => [`${from} ${to}`, `${to} ${from}`]))
  for (const middle of names)
    for (const from of names)
      for (const to of names)
        if (near.has(`${from} ${middle}`) && near.has(`${middle} ${to}`)) near.add(`${from} ${to}`)
  return [...near].filter((pair) => {
    const [from, to] = pair.split(' ')
    const { had, has } = model.get(from!)!
    return !had.difference(has).isDisjointFrom(model.get(to!)!.has)
  })
}

test('S2-18: in 10000 random graphs and lives no lost right comes back, and no channel closes without need', () => {
  let revoked = 0
  let kept = 0
  const property = fc.property(life, ({ grants, channels, happenings }) => {
    const model = new Map<string, Model>()
    const zones = new Map<string, ZoneRights>()
    for (const [at, name] of names.entries()) {
      const had = new Set(grants[at])
      model.set(name, { had, has: had })
      zones.set(name, { had: controlsOf(grants[at]!), has: controlsOf(grants[at]!) })
    }
    let open: readonly ChannelEnds[] = channels
    for (const { kind, zone: one, to } of happenings) {
      if (kind === 'end')
        open = open.filter((channel) => channel.from !== one && channel.to !== one)
      for (const name of kind === 'end' ? [] : kind === 'whole' ? names : [one]) {
        const { had, has } = zones.get(name)!
        zones.set(name, { had, has: meet(has, controlsOf(to)) })
        const own = model.get(name)!
        own.has = own.has.intersection(new Set(to))
      }
      const due = channelsToRevoke(zones, open)
      if (kind === 'end') assert.deepEqual(due, [], 'an end opens no way')
      const closed = new Set<ChannelEnds>(due.map(({ channel }) => channel))
      open = open.filter((channel) => !closed.has(channel))
      assert.deepEqual(waysIn(model, open), [])
      for (const { channel, zone: loser } of due) {
        const back = waysIn(model, [...open, channel])
        assert.ok(
          back.some((pair) => pair.startsWith(`${loser} `)),
          'it closed in vain',
        )
        const isOfLoser = [channel.from, channel.to].some(
          (end) => model.get(end)!.had.size > model.get(end)!.has.size,
        )
        assert.ok(isOfLoser, 'it is of nobody who lost anything')
      }
      revoked += due.length
      kept += open.length
    }
  })
  fc.assert(property, { numRuns: graphs })
  assert.ok(revoked > graphs / 10 && kept > graphs / 10, `${revoked} revoked, ${kept} kept`)
})
