import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { SimulatedClock } from '../../../tests/sim/simulated-clock.ts'
import { CallJournal, callKey } from './journal.ts'
import {
  executionsFile,
  StoredExecutions,
  sweepExecutions,
  type ExecutionBounds,
  type StoredExecution,
} from './stored-executions.ts'

const key = callKey('hub', 'create', { n: 1 })

function stand(path = ':memory:', bounds: ExecutionBounds = {}) {
  const time = { ms: 1_000_000 }
  const after = () => ({ cancel: () => undefined })
  const clock = { now: () => time.ms + 0.5, date: () => time.ms, after }
  return { time, kept: new StoredExecutions(path, clock, bounds) }
}

function execution(digest: string, answer = '1'): StoredExecution {
  const journal = new CallJournal()
  journal.add(key, { kind: 'value', text: answer })
  journal.add(key, { kind: 'error', message: 'no' })
  journal.approve(key)
  return { digest, source: { code: 'return 1', language: 'js' }, journal, waiting: key }
}

test('A waiting execution is resumed once, by its caller, within ten minutes', () => {
  const { kept, time } = stand()
  const handle = kept.of('a').pause(execution('d'))
  assert.equal(kept.of('b').resume(handle), undefined)
  assert.equal(kept.of('a').resume('forged'), undefined)
  assert.equal(kept.of('a').find(handle), undefined)
  assert.equal(kept.of('a').resume(handle)?.digest, 'd')
  assert.equal(kept.of('a').resume(handle), undefined)
  const late = kept.of('a').pause(execution('d'))
  time.ms += 10 * 60_000
  assert.equal(kept.of('a').resume(late), undefined)
})

test('A resumed execution that is put back waits as before, once and until the same time', () => {
  const { kept, time } = stand()
  const handle = kept.of('a').pause(execution('d'))
  time.ms += 9 * 60_000
  const resumed = kept.of('a').resume(handle)!
  resumed.journal.approve(key)
  resumed.putBack()
  assert.equal(kept.of('b').resume(handle), undefined)
  const again = kept.of('a').resume(handle)!
  assert.deepEqual([again.digest, again.waiting, again.journal.characters], ['d', key, 3])
  assert.deepEqual(
    [1, 2].map(() => again.journal.useApproval(key)),
    [true, false],
  )
  again.putBack()
  time.ms += 60_000
  assert.equal(kept.of('a').resume(handle), undefined)
})

test('An execution that ended is found for an hour, again and again, with all of its answers each time', () => {
  const { kept, time } = stand()
  kept.of('a').keep('x', execution('d'))
  assert.equal(kept.of('b').find('x'), undefined)
  for (let round = 0; round < 2; round++) {
    const { journal, waiting, source } = kept.of('a').find('x')!
    assert.deepEqual([waiting, source], [key, { code: 'return 1', language: 'js' }])
    assert.deepEqual(journal.take(key), { kind: 'value', text: '1' })
    assert.deepEqual(journal.take(key), { kind: 'error', message: 'no' })
    assert.equal(journal.take(key), undefined)
    assert.deepEqual([journal.useApproval(key), journal.useApproval(key)], [true, false])
    assert.equal(journal.characters, 3)
  }
  time.ms += 60 * 60_000
  assert.equal(kept.of('a').find('x'), undefined)
})

test('The oldest make room: of one caller, of all, and beyond the characters of all; the newest stays', () => {
  const { kept } = stand(':memory:', { entriesMax: 4, ownEntriesMax: 2, charactersMax: 3_000 })
  for (const id of ['1', '2', '3']) kept.of('a').keep(id, execution(id))
  for (const id of ['4', '5', '6']) kept.of(id).keep(id, execution(id))
  const there = (owner: string, id: string) => kept.of(owner).find(id) !== undefined
  assert.deepEqual([there('a', '1'), there('a', '2'), there('a', '3')], [false, false, true])
  assert.ok(['4', '5', '6'].every((id) => there(id, id)))
  kept.of('b').keep('large', execution('large', 'x'.repeat(5_000)))
  assert.ok(there('b', 'large'))
  assert.ok(['3', '4', '5', '6'].every((id) => !there(id, id) && !there('a', id)))
})

test('A caller with large executions loses its own oldest, and none of another caller', () => {
  const { kept } = stand(':memory:', { charactersMax: 8_000 })
  const handle = kept.of('quiet').pause(execution('waits'))
  for (const id of ['1', '2', '3', '4', '5', '6', '7', '8'])
    kept.of('loud').keep(id, execution(id, 'x'.repeat(1_200)))
  assert.equal(kept.of('loud').find('1'), undefined)
  assert.ok(kept.of('loud').find('8'))
  assert.equal(kept.of('quiet').resume(handle)?.digest, 'waits')
})

test('Another process can resume both, and an answer counts once for all processes; the file contains no handle', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-executions-'))
  try {
    const path = join(folder, 'executions.db')
    const first = stand(path).kept
    const handle = first.of('a').pause(execution('waits'))
    first.of('a').keep('x', execution('ended'))
    first.close()
    assert.equal(statSync(path).mode & 0o777, 0o600)
    assert.ok(!readFileSync(path).includes(handle))
    const [second, third] = [stand(path).kept, stand(path).kept]
    assert.equal(second.of('a').find('x')?.digest, 'ended')
    assert.equal(second.of('a').resume(handle)?.digest, 'waits')
    assert.equal(third.of('a').resume(handle), undefined)
    second.close()
    third.close()
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('A folder in place of the file is an error of the state', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-executions-'))
  try {
    assert.throws(() => stand(folder), { code: 'STATE' })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('An expired execution leaves the disk within a minute, when the file is closed, and by a sweep of another process', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-executions-'))
  try {
    const path = executionsFile(folder)
    const isThere = (answer: string) =>
      [path, `${path}-wal`].some((file) => existsSync(file) && readFileSync(file).includes(answer))
    const clock = new SimulatedClock()
    // Keeps the WAL, which the last process would remove.
    const beside = new StoredExecutions(path, clock)
    const own = new StoredExecutions(path, clock)
    own.of('a').keep('x', execution('d', 'answer of a mailbox'))
    assert.ok(isThere('answer of a mailbox'))
    await clock.run(61 * 60_000)
    assert.ok(!isThere('answer of a mailbox'))
    assert.equal(clock.pending, 0)

    const handle = own.of('a').pause(execution('d', 'answer for a person'))
    assert.ok(own.of('a').resume(handle))
    await clock.run(clock.now() + 60_000)
    assert.ok(!isThere('answer for a person'))

    const { kept, time } = stand(path)
    kept.of('a').keep('x', execution('d', 'answer before the close'))
    time.ms += 60 * 60_000
    kept.close()
    assert.ok(!isThere('answer before the close'))

    const ended = stand(path)
    ended.kept.of('a').keep('x', execution('d', 'answer that was left'))
    const after = () => ({ cancel: () => undefined })
    const later = { now: () => 0, date: () => ended.time.ms + 60 * 60_000, after }
    sweepExecutions(folder, later)
    assert.ok(!isThere('answer that was left'))
    for (const one of [beside, own, ended.kept]) one.close()
    sweepExecutions(join(folder, 'none'), later)
    assert.ok(!existsSync(join(folder, 'none')))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
