import assert from 'node:assert/strict'
import type { HttpBindings } from '@hono/node-server'
import { test } from 'node:test'
import { SenderShares } from '../http/sender-shares.ts'
import type { Identity } from '../http/keys.ts'
import { readArtifact } from './history.ts'

test('New artifacts that are read once are never charged, and those that are read again are, however many they are', async () => {
  const charged = new Map<string, number>()
  const parts = {
    history: { artifact: () => Buffer.alloc(10) },
    bodies: { turn: async (_: string, work: () => Uint8Array) => work() },
    answers: new SenderShares(1000, 1000),
    quotas: {
      transfer: (tenant: string, bytes: number) =>
        void charged.set(tenant, (charged.get(tenant) ?? 0) + bytes),
    },
    sessions: undefined,
  } as unknown as Parameters<typeof readArtifact>[0]
  const http = {
    incoming: { method: 'GET' },
    outgoing: { closed: true },
  } as unknown as HttpBindings
  // Ids of later jobs are higher.
  const read = async (job: number, tenant = 'acme') => {
    const identity = { tenant } as Identity
    const params = { id: `exec_${String(job).padStart(32, '0')}`, path: 'a' }
    const answer = await readArtifact(parts, { http, identity, params })
    assert.equal(answer.status, 200)
  }
  const count = 20_005
  for (let job = 1; job <= count; job++) await read(job)
  assert.equal(charged.get('acme'), undefined)
  for (let job = 1; job <= count; job++) await read(job)
  assert.equal(charged.get('acme'), count * 10)
  // An older job than those that are remembered counts as read.
  await read(0)
  assert.equal(charged.get('acme'), count * 10 + 10)
  await read(0, 'other')
  await read(count + 1)
  assert.deepEqual([...charged], [['acme', count * 10 + 10]])
  // Others fill the room for all tenants; those of the tenant that has read nothing for longest count as read, and no later ones.
  const busy = Array.from({ length: 10 }, (_, n) => `busy ${n}`)
  for (let job = 1; job <= 20_000; job++) for (const one of busy) await read(job, one)
  await read(count, 'acme')
  await read(count + 2, 'acme')
  assert.deepEqual([...charged], [['acme', count * 10 + 20]])
})
