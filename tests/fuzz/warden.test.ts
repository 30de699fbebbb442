import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answerChannel } from '../../src/warden/channel.ts'
import type { MachineSave } from '../../src/contract/machine-save.ts'
import type { Request } from '../../src/contract/warden-request.ts'
import type { Warden } from '../../src/warden/warden.ts'
import { fuzz, mutated, type Seeded } from './seeded.ts'

const hex = 'a'.repeat(64)
const envelope = { protocol: 1, id: 7 }
const requests = [
  { ...envelope, op: 'start', program: 'isolated-vm', spares: 4, spareMiB: 64 },
  { ...envelope, op: 'claim', wall: 'w1f', tenant: hex, memory: 2 ** 27, deadline: 5000 },
  {
    ...envelope,
    op: 'start',
    program: 'python',
    spares: 0,
    spareMiB: 8,
    mechanism: 'bubblewrap',
    disk: 2 ** 26,
  },
  {
    ...envelope,
    op: 'start',
    program: 'node',
    spares: 0,
    spareMiB: 8,
    layers: [
      { kind: 'node', layer: hex },
      { kind: 'wheels', layer: hex },
    ],
  },
  {
    ...envelope,
    op: 'claim',
    wall: 'w1f',
    tenant: hex,
    memory: 2 ** 27,
    deadline: 5000,
    cpu: 0.5,
    io: 2 ** 20,
    processes: 64,
    egress: true,
  },
  {
    ...envelope,
    op: 'resume',
    save: {
      mechanism: 'qemu',
      program: 'python',
      accelerator: 'tcg',
      memoryMiB: 256,
      image: hex,
      release: '10.0.2',
      devices: hex,
    },
  },
  { ...envelope, op: 'resumed', resumption: `r${hex.slice(0, 16)}` },
  { ...envelope, op: 'freeze', wall: 'w1f' },
  { ...envelope, op: 'thaw', wall: 'w1f' },
  { ...envelope, op: 'arm', wall: 'w1f', deadline: 5000 },
  { ...envelope, op: 'arm', wall: 'w1f', deadline: 5000, ran: 25 },
  { ...envelope, op: 'rest', wall: 'w1f' },
  { ...envelope, op: 'release', wall: 'w1f' },
  { ...envelope, op: 'kill', wall: 'w1f' },
  { ...envelope, op: 'start', program: 'python', spares: 0, spareMiB: 8, image: hex },
  {
    ...envelope,
    op: 'image',
    name: 'python-data',
    policy: {
      max_severity: 'medium',
      unknown_severity: 'high',
      max_feed_age: 86_400_000,
      allow_imported: false,
      unscanned_defaults: true,
    },
  },
  { ...envelope, op: 'facts' },
  { ...envelope, op: 'sign', digests: [hex, hex], seq: 3, head: hex },
]
const samples = requests.map((request) => Buffer.from(JSON.stringify(request)))
const pieces = [
  '"__proto__":{},',
  '"op":"kill",',
  'null',
  '1e999',
  '-1',
  '[]',
  '{}',
  ',',
  '"',
  '0.5',
]
/** Values that replace any field. */
const values: readonly unknown[] = [
  null,
  undefined,
  -1,
  0,
  0.5,
  NaN,
  Infinity,
  2 ** 53,
  '',
  'w1\n',
  'w../../etc',
  [{ kind: 'node', layer: '../../../etc' }],
  [{ kind: 'node', layer: `${hex}\n` }],
  [{ kind: '..', layer: hex }],
  [{ kind: 'node', layer: hex, root: '/etc' }],
  Array.from({ length: 9 }, () => ({ kind: 'node', layer: hex })),
  'x'.repeat(10_000),
  [],
  ['a'],
  {},
  JSON.parse('{"__proto__":{"op":"kill"}}'),
  new Map(),
  Array.from({ length: 200_000 }),
  true,
]
const asked: Readonly<Record<Request['op'], readonly string[]>> = {
  start: ['program', 'spareMiB', 'spares'],
  claim: ['deadline', 'memory', 'tenant', 'wall'],
  arm: ['deadline', 'wall'],
  release: ['wall'],
  rest: ['wall'],
  usage: ['wall'],
  callers: ['wall', 'from', 'local', 'remote'],
  kill: ['wall'],
  tighten: ['wall'],
  calls: ['phases', 'wall'],
  memory: ['wall'],
  capture: ['bytes', 'wall'],
  freeze: ['wall'],
  thaw: ['wall'],
  image: ['name', 'policy'],
  program: ['name'],
  resume: ['save'],
  resumed: ['resumption'],
  fork: ['children', 'wall'],
  forked: ['fork'],
  'forget-fork': ['fork'],
  loads: [],
  facts: [],
  sign: ['digests', 'head', 'seq'],
}

/** Optional fields. */
const optional = [
  'mechanism',
  'disk',
  'layers',
  'image',
  'calls',
  'cpu',
  'io',
  'processes',
  'egress',
  'ran',
]
const optionalOf: Partial<Record<Request['op'], readonly string[]>> = {
  start: ['mechanism', 'disk', 'layers', 'image'],
  claim: ['cpu', 'io', 'processes', 'egress'],
  tighten: ['memory', 'cpu', 'io', 'processes'],
  arm: ['ran'],
}

test('For any message of a server the warden acts on a request within its bounds, refuses once or drops it', (t) => {
  fuzz(t, {
    cases: 40_000,
    long: 1_000_000,
    attempt(random) {
      const message = random.below(2) === 0 ? replaced(random) : damaged(random)
      const { taken, replies } = heard(message)
      assert.ok(taken.length + replies.length <= 1)
      for (const request of taken) isWithinBounds(request)
      for (const { id, ok, code } of replies) {
        assert.deepEqual([ok, code], [false, 'PROTOCOL'])
        assert.equal(id, (message as { id: unknown }).id)
      }
    },
  })
})

function replaced(random: Seeded): unknown {
  const request: Record<string, unknown> = { ...random.pick(requests) }
  for (let change = random.below(3); change >= 0; change--) {
    const key = random.pick([...Object.keys(request), 'more', 'wall'])
    if (random.below(6) === 0) delete request[key]
    else request[key] = random.pick([...values, ...Object.values(random.pick(requests))])
  }
  return request
}

/** Mutated text that is no JSON could not come over the channel; it is sent as a string instead. */
function damaged(random: Seeded): unknown {
  const text = mutated(random, samples, pieces).toString()
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

interface Refusal {
  readonly id: unknown
  readonly ok: unknown
  readonly code: unknown
}

function heard(message: unknown): { taken: Request[]; replies: Refusal[] } {
  const taken: Request[] = []
  const replies: Refusal[] = []
  const warden = {
    answer(request: Request) {
      taken.push(request)
      return new Promise(() => {})
    },
  } as unknown as Warden
  const send = (reply: unknown) => replies.push(reply as Refusal) > 0
  answerChannel(warden, { send })(message)
  return { taken, replies }
}

function isWithinBounds(request: Request): void {
  assert.equal(Object.getPrototypeOf(request), Object.prototype)
  const keys = Object.keys(request).filter((key) => !['protocol', 'id', 'op'].includes(key))
  const mayMiss = request.op === 'tighten' ? [...optional, 'memory'] : optional
  const needed = keys.filter((key) => !mayMiss.includes(key))
  assert.deepEqual(needed.sort(), asked[request.op])
  for (const key of keys.filter((one) => mayMiss.includes(one)))
    assert.ok(optionalOf[request.op]?.includes(key), key)
  assert.ok(request.protocol === 1 && Number.isSafeInteger(request.id) && request.id >= 1)
  if ('wall' in request) assert.match(request.wall, /^w[0-9a-f]{1,40}$(?!\n)/)
  if ('deadline' in request) assert.ok(request.deadline >= 1 && request.deadline <= 86_400_000 * 2)
  if (request.op === 'arm' && request.ran !== undefined)
    assert.ok(request.ran >= 0 && request.ran <= 86_400_000 * 2)
  if (request.op === 'claim') isClaimWithinBounds(request)
  if (request.op === 'start') isStartWithinBounds(request)
  if (request.op === 'resume') isSaveWithinBounds(request.save)
  if (request.op === 'resumed') assert.match(request.resumption, /^r[0-9a-f]{16}$(?!\n)/)
  if (request.op === 'image')
    assert.match(request.name, /^(?:[a-z0-9][a-z0-9._-]{0,62}|sha256:[0-9a-f]{64})$(?!\n)/)
  if (request.op === 'sign') assert.ok(request.digests.every((one) => /^[0-9a-f]{64}$/.test(one)))
}

function isClaimWithinBounds(claim: Extract<Request, { op: 'claim' }>): void {
  const { memory, cpu = 1, io = 2 ** 20, processes = 1, egress = false } = claim
  assert.ok(memory >= 0 && memory <= 2 ** 40)
  assert.ok(cpu >= 0.01 && cpu <= 1024)
  assert.ok(Number.isSafeInteger(io) && io >= 4096)
  assert.ok(Number.isSafeInteger(processes) && processes >= 1 && processes <= 2 ** 22)
  assert.equal(typeof egress, 'boolean')
}

function isSaveWithinBounds({ memoryMiB, ...words }: MachineSave): void {
  assert.ok(Number.isSafeInteger(memoryMiB) && memoryMiB >= 64 && memoryMiB <= 65_536)
  assert.equal(Object.keys(words).length, 6)
  for (const word of Object.values(words)) assert.match(word, /^[a-z0-9.-]{1,64}$(?!\n)/)
}

function isStartWithinBounds(start: Extract<Request, { op: 'start' }>): void {
  const { spares, spareMiB, mechanism = 'any', disk = 2 ** 20, layers = [], image = hex } = start
  assert.ok(layers.length <= 4)
  for (const { layer, kind, ...more } of layers) {
    assert.match(layer, /^[0-9a-f]{64}$(?!\n)/)
    assert.ok(['node', 'python', 'wheels'].includes(kind))
    assert.deepEqual(more, {})
  }
  assert.match(image, /^[0-9a-f]{64}$(?!\n)/)
  assert.ok(spares <= 64 && spareMiB <= 4096)
  assert.match(mechanism, /^[a-z][a-z0-9-]{0,31}$(?!\n)/)
  assert.ok(Number.isSafeInteger(disk) && disk >= 2 ** 20 && disk <= 2 ** 36)
}
