import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Evidence } from '../contract/evidence.ts'
import { openBodies, retentionMs, sweepEnded } from './bodies.ts'
import { createCustody, type CustodyParts } from './custody.ts'

const capture = {
  kind: 'memory',
  parts: [{ name: 'memory.bin', bytes: [Buffer.alloc(600, 'm')] }],
} as const
const everybody = { principal: 'key:admin', tenant: undefined }

function open(bounds: Pick<CustodyParts, 'askedBytesMax' | 'askedMax'> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-custody-'))
  const bodies = openBodies(folder)
  const told: [string, unknown, unknown][] = []
  let at = 0
  const custody = createCustody({
    bodies: () => bodies,
    now: () => (at += 10),
    tell: (point, { parts, name }, about) => void told.push([point, parts ?? name, about]),
    ...bounds,
  })
  return {
    ...custody,
    bodies,
    told,
    [Symbol.dispose]() {
      bodies.close()
      rmSync(folder, { recursive: true })
    },
  }
}

test('Storing and reading evidence each leave a line; a missing part leaves none', async () => {
  using custody = open()
  const { keep, evidence, told } = custody
  const parts = await keep({ run: 'exec_1', tenant: 'acme', because: 'anomaly' }, capture)
  await keep({ run: 'exec_2', tenant: 'acme', because: 'asked' }, { kind: 'none', parts: [] })
  const { name } = parts[0]!
  assert.equal(evidence.of('exec_1', everybody)[0]!.because, 'anomaly')
  evidence.read('exec_1', name, everybody)
  for (const by of [everybody, { ...everybody, tenant: 'other' }])
    for (const run of by === everybody ? ['exec_2'] : ['exec_1', 'exec_2']) {
      assert.throws(() => evidence.of(run, by), { code: 'NOT_FOUND' })
      assert.throws(() => evidence.read(run, name, by), { code: 'NOT_FOUND' })
    }
  const about = { run: 'exec_1', tenant: 'acme' }
  assert.deepEqual(told, [
    ['evidence/kept', parts, { ...about, actor: 'evidence' }],
    ['evidence/read', name, { ...about, actor: 'key:admin' }],
  ])
})

test("Requesting many captures evicts the requester's oldest, not those of others and not unrequested ones", async () => {
  using custody = open({ askedBytesMax: 2000 })
  const { keep, evidence, bodies } = custody
  bodies.put({ tenant: 'acme', run: 'exec_1', name: 'outcome' }, Buffer.from('{}'), 1)
  await keep({ run: 'exec_0', tenant: 'acme', because: 'anomaly' }, capture)
  await keep({ run: 'exec_9', tenant: 'other', because: 'asked' }, capture)
  for (const run of ['exec_1', 'exec_2', 'exec_3'])
    await keep({ run, tenant: 'acme', because: 'asked' }, capture)
  const runs = ['exec_0', 'exec_9', 'exec_1', 'exec_2', 'exec_3']
  assert.deepEqual(
    runs.map((run) => isKept(evidence, run)),
    [true, true, false, true, true],
  )
  assert.deepEqual(bodies.names('acme', 'exec_1'), ['outcome'])
})

test('A large capture counts however many small ones came after it', async () => {
  using custody = open({ askedBytesMax: 1_500_000, askedMax: 2000 })
  const { keep, evidence, bodies } = custody
  const asked = { tenant: 'acme', because: 'asked' } as const
  const large = {
    kind: 'memory',
    parts: [{ name: 'a', bytes: [Buffer.alloc(1_000_000)] }],
  } as const
  await keep({ run: 'exec_0', ...asked }, large)
  // More entries than one query reads; stored as an empty capture is.
  for (let at = 0; at < 1050; at++) {
    const place = (name: string) => ({
      tenant: 'acme',
      run: 'exec_1',
      name: `capture-${at}/${name}`,
    })
    bodies.put(place('asked'), Buffer.alloc(0), at)
    bodies.put(place('capture.json'), Buffer.alloc(200), at)
  }
  assert.ok(isKept(evidence, 'exec_0'))
  await keep({ run: 'exec_2', ...asked }, large)
  assert.deepEqual(bodies.names('acme', 'exec_0'), [])
  assert.equal(bodies.names('acme', 'exec_1').length, 2100)
  assert.ok(isKept(evidence, 'exec_2'))
})

test('Captures without bytes are limited by count, newest first', async () => {
  using custody = open({ askedMax: 3 })
  const { keep, evidence, bodies } = custody
  const small = { kind: 'memory', parts: [{ name: 'memory.bin', bytes: [] }] } as const
  await keep({ run: 'exec_9', tenant: 'other', because: 'asked' }, small)
  const runs = ['exec_1', 'exec_2', 'exec_3', 'exec_4', 'exec_5']
  for (const run of runs) await keep({ run, tenant: 'acme', because: 'asked' }, small)
  assert.deepEqual(
    ['exec_9', ...runs].map((run) => isKept(evidence, run)),
    [true, false, false, true, true, true],
  )
  assert.deepEqual(bodies.names('acme', 'exec_1'), [])
})

function isKept(evidence: Evidence, run: string): boolean {
  try {
    return evidence.of(run, everybody).length > 0
  } catch {
    return false
  }
}

test('Storing a capture forgets bodies of other runs that have expired', async () => {
  using custody = open()
  custody.bodies.put(
    { tenant: 'acme', run: 'exec_0', name: 'capture-1/a' },
    Buffer.alloc(9),
    -retentionMs,
  )
  custody.bodies.put({ tenant: 'acme', run: 'exec_9', name: 'capture-1/a' }, Buffer.alloc(9), 1)
  await custody.keep({ run: 'exec_1', tenant: 'acme', because: 'anomaly' }, capture)
  assert.deepEqual(custody.bodies.names('acme', 'exec_0'), [])
  assert.equal(custody.bodies.names('acme', 'exec_9').length, 1)
  assert.equal(custody.evidence.of('exec_1', everybody).length, 1)
})

test('A capture is stored without waiting for the sweep of the whole store', async () => {
  using custody = open()
  let isOver = false
  custody.bodies.retain = function* () {
    for (;;) {
      if (isOver) return
      yield 1
    }
  }
  const kept = await custody.keep({ run: 'exec_1', tenant: 'acme', because: 'anomaly' }, capture)
  assert.equal(kept.length, 1)
  isOver = true
  await sweepEnded(custody.bodies)
})

test('A capture that finds no room on the disk leaves no line, and forgets bodies that have expired', async () => {
  using custody = open()
  const old = { tenant: 'acme', run: 'exec_0', name: 'capture-1/a' }
  custody.bodies.put(old, Buffer.alloc(9), -retentionMs)
  custody.bodies.roomLack = () => 'disk'
  const kept = custody.keep({ run: 'exec_1', tenant: 'acme', because: 'asked' }, capture)
  await assert.rejects(kept, { code: 'DISK_FULL' })
  assert.deepEqual(custody.bodies.names('acme', 'exec_0'), [])
  assert.deepEqual(custody.told, [])
})
