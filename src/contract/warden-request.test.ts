import assert from 'node:assert/strict'
import { test } from 'node:test'
import { configSchema } from './config.ts'
import { limits as jobLimits } from './job.ts'
import { restraint } from './restraint.ts'
import { wardenProtocol } from './warden.ts'
import { request } from './warden-request.ts'

const about = { protocol: wardenProtocol, id: 1, wall: 'w1' }
const start = {
  protocol: wardenProtocol,
  id: 1,
  op: 'start',
  program: 'python',
  spares: 0,
  spareMiB: 8,
}

/** Whether the warden accepts the bound of a wall. The server raises a small scratch space to the least of a wall. */
const isAccepted = (name: string, value: number): boolean =>
  name === 'disk'
    ? request.safeParse({ ...start, disk: Math.max(value, 2 ** 20) }).success
    : [{ op: 'tighten' }, { op: 'claim', tenant: 't', memory: 0, deadline: 1 }].every(
        (asked) => request.safeParse({ ...about, ...asked, [name]: value }).success,
      )

const edges = {
  cpu: [Number.MIN_VALUE, 0.001, 0.009_999, 0.01, 1, 1024, 1025],
  processes: [0, 1, 100_000, 100_001, 2 ** 22 + 1],
  disk: [0, 1, 2 ** 20, 64 * 2 ** 30, 64 * 2 ** 30 + 1, 2 ** 40],
  memory: [0, 1, 2 ** 40, 2 ** 40 + 1],
  io: [0, 1, 4095, 4096, 2 ** 40],
} as const

test('The warden accepts each limit that a job, the configuration, a phase or the restraint accepts, and each accepts one', () => {
  const doors = {
    job: (name: string, value: number) => jobLimits.safeParse({ [name]: value }).success,
    limits: (name: string, value: number) =>
      configSchema.safeParse({ limits: { [name]: value } }).success,
    phase: (name: string, value: number) =>
      configSchema.safeParse({
        schedules: { s: { phases: [{ name: 'a', for: '1s', [name]: value }] } },
      }).success,
    restraint: (name: string, value: number) =>
      name === 'io' && restraint.safeParse({ '20': { io: value } }).success,
  }
  for (const [door, accepts] of Object.entries(doors)) {
    const pairs = Object.entries(edges).flatMap(([name, values]) =>
      values.map((value) => [name, value] as const),
    )
    const taken = pairs.filter(([name, value]) => accepts(name, value))
    assert.ok(taken.length > 0, door)
    for (const [name, value] of taken)
      assert.ok(isAccepted(name, value), `${door}: ${name} ${value}`)
  }
})
