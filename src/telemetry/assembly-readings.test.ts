import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { WardenFacts } from '../contract/warden.ts'
import { assemblyReadings } from './assembly-readings.ts'

test('Walls are counted by program, with their memory, refreshed every ten seconds at most', async () => {
  let now = 0
  let asked = 0
  const observe = assemblyReadings({
    pool: { running: 2, waiting: 1 },
    stock: { facts: [] },
    warden: { facts: () => Promise.resolve(((asked += 1), facts)) },
    clock: { now: () => now },
  })
  const read = async () =>
    Object.fromEntries((await observe()).map(({ name, series }) => [name, series]))
  const first = await read()
  assert.deepEqual(first['mayfly.pool.running'], [{ labels: {}, value: 2 }])
  assert.deepEqual(first['mayfly.walls'], [
    { labels: { program: 'analyst' }, value: 1 },
    { labels: { program: 'isolated-vm' }, value: 2 },
  ])
  assert.deepEqual(first['mayfly.walls.memory']?.[1], {
    labels: { program: 'isolated-vm' },
    value: 30,
  })
  now = 9_999
  await read()
  assert.equal(asked, 1)
  now = 10_000
  await read()
  assert.equal(asked, 2)
})

test('A warden that does not answer removes only the metrics of walls', async () => {
  const observe = assemblyReadings({
    pool: { running: 0, waiting: 0 },
    stock: { facts: [] },
    warden: { facts: () => Promise.reject(new Error('lost')) },
    clock: { now: () => 0 },
  })
  const names = (await observe()).map(({ name }) => name)
  assert.ok(names.includes('mayfly.pool.running'))
  assert.ok(!names.some((name) => name.startsWith('mayfly.walls')))
})

const facts: WardenFacts = {
  pid: 1,
  root: true,
  walls: [
    { id: 'a', program: 'isolated-vm', pid: 2, proportionalBytes: 10 },
    { id: 'b', program: 'isolated-vm', pid: 3, proportionalBytes: 20 },
    { id: 'c', program: 'analyst', pid: 4, proportionalBytes: 5 },
  ],
  proportionalBytes: 100,
  publicKey: '',
  machine: { namespaces: true, landlock: 0, cgroups: null, bubblewrap: false, kvm: null },
}
