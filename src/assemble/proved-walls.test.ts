import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Availability, Provider } from '../contract/provider.ts'
import { probeMsMax, ProvedWalls } from './proved-walls.ts'
import { retryMsMax, retryMsMin } from './retry-times.ts'
import { unavailableNames } from './unavailable-names.ts'

const minute = 60_000
const refused: Availability = {
  available: false,
  code: 'UNAVAILABLE',
  reason: 'Cannot start it: the program is missing',
  fix: 'Install it',
}
const there: Availability = { available: true, strength: 5, layers: [], missing: [] }
const stopped = { now: () => 0, after: () => ({ cancel: () => undefined }) }

test('A refused wall is tried again when it is needed, after a minute, and then after twice as long up to ten', async () => {
  const stand = played()
  await stand.need()
  const waits: number[] = []
  for (let probes = stand.probes(); waits.length < 6; probes = stand.probes()) {
    let waited = 0
    while (stand.probes() === probes) {
      stand.pass(minute / 2)
      waited += minute / 2
      await stand.need()
      await stand.settled()
    }
    waits.push(waited / minute)
  }
  assert.deepEqual(waits, [1, 2, 4, 8, 10, 10])
  assert.deepEqual([retryMsMin, retryMsMax], [minute, 10 * minute])
})

test('A wall that became available is chosen after its next attempt, for which no job waits', async () => {
  const stand = played()
  await stand.need()
  stand.becomes(there)
  await stand.need()
  assert.equal(stand.isThere(), false, 'it is not yet time')
  stand.pass(minute)
  const answers = stand.holdProbes()
  await stand.need()
  assert.deepEqual([stand.probes(), stand.isThere()], [2, false], 'no job waits for the probe')
  answers()
  await stand.settled()
  assert.equal(stand.isThere(), true)
  stand.pass(60 * minute)
  await stand.need()
  assert.equal(stand.probes(), 2, 'a proved wall is not probed again')
})

test('A list of the walls waits for attempts that are due, and a change to a refused wall makes one at once', async () => {
  const stand = played()
  await stand.need()
  stand.becomes(there)
  await stand.walls.proveAll()
  assert.equal(stand.isThere(), false)
  stand.pass(minute)
  await stand.walls.proveAll()
  assert.equal(stand.isThere(), true)

  const other = played()
  await other.need()
  await assert.rejects(other.walls.mustServe('played'), { code: 'INVALID' })
  other.becomes(there)
  await other.walls.mustServe('played')
  assert.equal(other.isThere(), true)
})

test('An attempt that throws leaves the refusal, and is repeated later', async () => {
  const stand = played()
  await stand.need()
  stand.becomes(new Error('broken'))
  stand.pass(minute)
  await stand.need()
  await stand.settled()
  assert.equal(stand.isThere(), false)
  stand.becomes(there)
  stand.pass(2 * minute)
  await stand.need()
  await stand.settled()
  assert.equal(stand.isThere(), true)
})

test('A wall whose probe throws, rejects or answers nothing is refused with the reason, and others are proved', async () => {
  const broken = {
    throws: () => {
      throw new Error('no such device')
    },
    rejects: () => Promise.reject(new Error('no such device')),
    nothing: () => Promise.resolve(undefined),
    works: () => Promise.resolve(there),
  }
  const others = Object.entries(broken).map(
    ([name, detect]) =>
      ({ name, tier: 'microvm', languages: ['python'], detect }) as unknown as Provider,
  )
  const walls = new ProvedWalls({
    loaders: new Map(),
    others,
    emitter: { emit: () => undefined },
    clock: stopped,
  })
  await walls.proveAll()
  assert.deepEqual(
    walls.proved.map(({ provider: { name }, availability }) => [
      name,
      availability.available || [availability.code, availability.reason],
    ]),
    [
      ['throws', ['PROVIDER_BROKEN', 'Cannot prove provider "throws": no such device']],
      ['rejects', ['PROVIDER_BROKEN', 'Cannot prove provider "rejects": no such device']],
      [
        'nothing',
        ['PROVIDER_BROKEN', 'Cannot prove provider "nothing": its probe answered no availability'],
      ],
      ['works', true],
    ],
  )
})

test('A probe of the application that never settles is refused after its bound, or at the close, and others are proved', async () => {
  const late: (() => void)[] = []
  const wall = (name: string, answer: Promise<Availability>) =>
    ({ name, tier: 'microvm', languages: ['python'], detect: () => answer }) as unknown as Provider
  const never = new Promise<never>(() => undefined)
  const walls = new ProvedWalls({
    loaders: new Map(),
    others: [wall('hangs', never), wall('works', Promise.resolve(there))],
    emitter: { emit: () => undefined },
    clock: {
      now: () => 0,
      after(ms, then) {
        assert.equal(ms, probeMsMax)
        late.push(then)
        return { cancel: () => undefined }
      },
    },
  })
  const all = walls.proveAll()
  late[0]!()
  await all
  const added = walls.add(wall('closed', never))
  walls.close()
  await added
  assert.deepEqual(
    walls.proved.map(({ provider: { name }, availability }) => [
      name,
      availability.available || [availability.code, availability.reason],
    ]),
    [
      [
        'hangs',
        ['PROVIDER_BROKEN', 'Cannot prove provider "hangs": its probe took longer than 60000 ms'],
      ],
      ['works', true],
      ['closed', ['CONFLICT', 'Cannot prove provider "closed": Cannot use Mayfly: it was closed']],
    ],
  )
})

test('Walls that the configuration names and that are not available are listed with the key, the cause and the fix', async () => {
  const { walls } = played()
  const row = { language: 'python', count: 1 } as const
  const spares = [
    { ...row, provider: 'played' },
    { ...row, provider: 'played', language: 'node' },
  ] as const
  const found = await unavailableNames({ default_provider: 'no-such', spares }, walls)
  assert.deepEqual(
    found.map(({ name, setBy }) => [name, setBy]),
    [
      ['no-such', 'default_provider'],
      ['played', 'spares'],
    ],
  )
  assert.deepEqual([found[1]!.reason, found[1]!.fix], [refused.reason, refused.fix])
  assert.deepEqual(await unavailableNames({ default_provider: 'auto', spares: [] }, walls), [])
})

test('A wall whose proof would not help is passed over, and one behind it is proved', async () => {
  const probed: string[] = []
  const load = (name: string) => async () =>
    ({
      name,
      tier: 'process',
      languages: ['python'],
      detect: async () => (probed.push(name), refused),
    }) as unknown as Provider
  const names = ['first', 'same', 'stronger', 'last']
  const walls = new ProvedWalls({
    loaders: new Map(names.map((name) => [name, load(name)])),
    others: [],
    emitter: { emit: () => undefined },
    clock: stopped,
  })
  const helps = { first: 'yes', same: 'no', stronger: 'yes', last: 'served' } as const
  await walls.proveUntil('python', (next) => helps[next as keyof typeof helps] ?? 'served')
  assert.deepEqual(probed, ['first', 'stronger'])
})

/** Plays a wall that is refused at first, with a clock that stands still. */
function played() {
  let now = 0
  let probes = 0
  let answer: Availability | Error = refused
  let held = Promise.resolve()
  const provider = {
    name: 'played',
    tier: 'microvm',
    languages: ['python'],
    async detect() {
      probes++
      await held
      if (answer instanceof Error) throw answer
      return answer
    },
  } as unknown as Provider
  const walls = new ProvedWalls({
    loaders: new Map([['played', () => Promise.resolve(provider)]]),
    others: [],
    emitter: { emit: () => undefined },
    clock: { ...stopped, now: () => now },
  })
  return {
    walls,
    need: () => walls.proveUntil('python', () => 'yes'),
    settled: () => new Promise((resolve) => void setImmediate(resolve)),
    pass: (ms: number) => void (now += ms),
    becomes: (next: Availability | Error) => void (answer = next),
    probes: () => probes,
    /** Probes stay pending until the returned function is called. */
    holdProbes(): () => void {
      const { promise, resolve } = Promise.withResolvers<void>()
      held = promise
      return resolve
    },
    isThere: () => walls.facts.some(({ available }) => available),
  }
}
