import assert from 'node:assert/strict'
import { availableParallelism } from 'node:os'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { playProgram } from '../../tests/fixtures/played-program.ts'
import { createArtifactCap } from './artifact-cap.ts'

test('S4-21: CPU time is the warden’s measurement, also if release and end are read in one turn', async () => {
  const guest = await playProgram(createArtifactCap(1000), 300)
  const claim = { protocol: 1, status: 'ok', encoding: 'json', cpuTimeMs: 0, executionMs: 0 }
  const { status, cpuTime } = await guest.endsAtOnce(20, claim)
  assert.deepEqual([status, cpuTime], ['ok', 300])
})

test('CPU time that only the program reports is capped at what the machine can give', async () => {
  const guest = await playProgram(createArtifactCap(1000))
  const claim = { protocol: 1, status: 'ok', encoding: 'json', cpuTimeMs: 1e300, executionMs: 0 }
  const started = performance.now()
  const { cpuTime } = await guest.endsAtOnce(5, claim)
  const possibleMs = (performance.now() - started + 1_000) * availableParallelism()
  assert.ok(cpuTime < possibleMs, `${cpuTime} ms of ${possibleMs}`)
})

test('A program that reports a limit, a lost wall or a code of the host ends as an error PROTOCOL', async () => {
  const head = { protocol: 1, encoding: 'json', cpuTimeMs: 0, executionMs: 0 }
  for (const claim of [
    { ...head, status: 'limit', error: { code: 'DISK', message: 'the disk is full' } },
    { ...head, status: 'limit', error: { code: 'MEMORY', message: 'too much' } },
    { ...head, status: 'error', error: { code: 'WALL_LOST', message: 'The wall ended' } },
    { ...head, status: 'failed', error: { code: 'USER_ERROR', message: 'broken' } },
  ]) {
    const guest = await playProgram(createArtifactCap(1000))
    const { status, error } = await guest.endsAtOnce(0, claim)
    assert.deepEqual([status, error?.code], ['error', 'PROTOCOL'], JSON.stringify(claim))
    assert.ok(guest.isKilled())
  }
})

const honest = { protocol: 1, status: 'ok', encoding: 'json', cpuTimeMs: 0, executionMs: 0 }

test('A program that reported its end is stopped, also while its output is not consumed', async () => {
  const guest = await playProgram(createArtifactCap(1000))
  await guest.printsAndEnds(honest)
  const deadline = performance.now() + 10_000
  while (!guest.isKilled()) {
    assert.ok(performance.now() < deadline, 'it was not stopped')
    await sleep(1)
  }
  guest.wallEnds()
  guest.reads()
  assert.equal((await guest.end).status, 'ok')
})

test('A program that reported its end and broke a limit before it was stopped ends at the limit', async () => {
  const guest = await playProgram(createArtifactCap(1000))
  await guest.printsAndEnds(honest)
  guest.wallEnds('memory')
  guest.reads()
  const { status, error } = await guest.end
  assert.deepEqual([status, error?.code], ['limit', 'MEMORY'])
})

test('A job ends at a limit that the warden saw used up only if its program reports an error', async () => {
  for (const [limit, code] of [
    ['disk', 'DISK'],
    ['processes', 'PROCESSES'],
  ] as const) {
    const failed = await playProgram(createArtifactCap(1000), 0, '', limit)
    const error = { code: 'USER_ERROR', message: 'No space left on device' }
    const ended = await failed.endsAtOnce(0, { ...honest, status: 'error', error })
    assert.deepEqual([ended.status, ended.error?.code], ['limit', code])

    const handled = await playProgram(createArtifactCap(1000), 0, '', limit)
    assert.equal((await handled.endsAtOnce(20, honest)).status, 'ok')
  }
})

test('A program that says that its disk is full ends with its own error if the warden saw none', async () => {
  const guest = await playProgram(createArtifactCap(1000))
  const error = { code: 'USER_ERROR', message: '[Errno 28] No space left on device' }
  const ended = await guest.endsAtOnce(0, { ...honest, status: 'error', error })
  assert.deepEqual([ended.status, ended.error?.code], ['error', 'USER_ERROR'])
})

test('A program that exits without a report ends at a used-up limit, unless it exits with 0', async () => {
  for (const [exitCode, status] of [
    [3, 'limit'],
    [0, 'ok'],
  ] as const) {
    const guest = await playProgram(createArtifactCap(1000), 0, '', 'disk')
    guest.releases()
    guest.wallEnds('exit', { exitCode, signal: null, cpuMs: 1 })
    assert.equal((await guest.end).status, status)
  }
})

test('Output that is read before the release is forwarded after it', async () => {
  const guest = await playProgram(createArtifactCap(1000))
  await guest.complains('first words', true)
  assert.deepEqual(guest.heard(), ['released', 'first words'])
})

test('Output of a runner that reported no release is forwarded at its end', async () => {
  const guest = await playProgram(createArtifactCap(1000))
  await guest.complains('cannot start', false)
  assert.deepEqual(guest.heard(), ['cannot start'])
})

test('The deadline of the warden is moved while a program runs, and not for one that has ended by then', async () => {
  const short = await playProgram(createArtifactCap(1000))
  await short.endsAtOnce(0, honest)
  const long = await playProgram(createArtifactCap(1000))
  long.releases()
  assert.deepEqual(long.armedMs, [])
  const deadline = performance.now() + 10_000
  while (long.armedMs.length === 0) {
    assert.ok(performance.now() < deadline, 'it was not moved')
    await sleep(1)
  }
  assert.ok(long.armedMs[0]! > 0, 'its peak of memory would be dropped')
  assert.deepEqual(short.armedMs, [])
  long.wallEnds()
  await long.end
})

test('The deadline of the warden is moved at the release of a large job, whose layout is not part of its peak', async () => {
  const guest = await playProgram(createArtifactCap(1000), 0, 'x'.repeat(100_000))
  guest.releases()
  assert.deepEqual(guest.armedMs, [0])
  guest.wallEnds()
  await guest.end
})

test('A program that is released a second time ends as an error PROTOCOL', async () => {
  const guest = await playProgram(createArtifactCap(1000))
  guest.releases()
  assert.ok(!guest.isKilled())
  guest.releases()
  assert.ok(guest.isKilled())
  assert.equal((await guest.end).error?.code, 'PROTOCOL')
})
