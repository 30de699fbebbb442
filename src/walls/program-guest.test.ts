import assert from 'node:assert/strict'
import { test } from 'node:test'
import { playProgram } from '../../tests/fixtures/played-program.ts'
import { createArtifactCap } from './artifact-cap.ts'

test('S4-21: CPU time is what the warden saw, also where release and end are read in one turn', async () => {
  const guest = await playProgram(createArtifactCap(1000), 300)
  const claim = { protocol: 1, status: 'ok', encoding: 'json', cpuTimeMs: 0, executionMs: 0 }
  const { status, cpuTime } = await guest.endsAtOnce(20, claim)
  assert.deepEqual([status, cpuTime], ['ok', 300])
})
