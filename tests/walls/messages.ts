import { seeded } from '../../src/tiers/mock/seeded.ts'

/**
 * Messages of a compromised server to its warden: requests with a field changed, removed or added, and random values.
 * None of them is a valid request to start a wall.
 */
export function* hostileMessages(seed: number, count: number): Generator {
  const random = seeded(seed)
  const below = (max: number) => Math.floor(random() * max)
  const pick = <T>(list: readonly T[]): T => list[below(list.length)]!
  for (let n = 0; n < count; n++) yield below(4) === 0 ? value(0) : request()

  function request(): unknown {
    const message: Record<string, unknown> = { ...pick(requests), id: below(1000) + 1 }
    for (let changes = below(3) + 1; changes > 0; changes--) change(message)
    if (message['op'] === 'start') message['program'] = pick(programs)
    return message
  }

  function change(message: Record<string, unknown>): void {
    const key = below(3) === 0 ? pick(keys) : pick(Object.keys(message))
    if (below(4) === 0) delete message[key]
    else message[key] = value(0)
  }

  function value(depth: number): unknown {
    if (depth < 3 && below(5) === 0) return Array.from({ length: below(5) }, () => value(depth + 1))
    if (depth < 3 && below(5) === 0) return { [pick(keys)]: value(depth + 1) }
    return pick(values)
  }
}

const digest = 'a'.repeat(64)
const requests = [
  { protocol: 1, op: 'start', program: 'isolated-vm', spares: 1, spareMiB: 64 },
  { protocol: 1, op: 'claim', wall: 'w00', tenant: 'a', memory: 1, deadline: 1 },
  { protocol: 1, op: 'release', wall: 'w00' },
  { protocol: 1, op: 'kill', wall: 'w00' },
  { protocol: 1, op: 'facts' },
  { protocol: 1, op: 'sign', digests: [digest], seq: 0, head: digest },
]
const programs = ['/bin/sh', '../isolated-vm', 'isolated-vm\0', '', null, 7, ['isolated-vm'], {}]
const keys = [
  'protocol',
  'id',
  'op',
  'program',
  'spares',
  'spareMiB',
  'wall',
  'tenant',
  'memory',
  'deadline',
  'digests',
  'seq',
  'head',
  'argv',
  'env',
  '__proto__',
  'constructor',
  'toString',
  'then',
]
const values: readonly unknown[] = [
  null,
  undefined,
  true,
  0,
  -1,
  1,
  1.5,
  2 ** 31,
  2 ** 53,
  1e308,
  NaN,
  Infinity,
  '',
  'w00',
  'w'.repeat(100_000),
  '../../etc/passwd',
  '\0',
  '__proto__',
  'start',
  'kill',
  digest,
  [digest, digest],
  Array.from({ length: 20_000 }, () => digest),
  {},
  [],
]
