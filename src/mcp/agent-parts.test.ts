import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { SimulatedClock } from '../../tests/sim/simulated-clock.ts'
import { openAgentParts, type AgentOptions } from './agent-parts.ts'
import { CallJournal, callKey } from './code-mode/journal.ts'
import { executionsFile, StoredExecutions } from './code-mode/stored-executions.ts'

test('Executions that an earlier process left leave the disk a minute after they expired at the latest', async () => {
  const state = mkdtempSync(join(tmpdir(), 'mayfly-agents-'))
  const clock = new SimulatedClock()
  const assembly = { config: { mcp: { servers: [] }, state }, clock }
  const startProgram = () => Promise.reject(new Error('no program'))
  const open = () =>
    openAgentParts({ assembly, version: '1', startProgram } as unknown as AgentOptions)
  try {
    const file = executionsFile(state)
    await open().close()
    assert.ok(!existsSync(file))
    const earlier = new StoredExecutions(file, clock)
    const journal = new CallJournal()
    journal.add(callKey('hub', 'read', {}), { kind: 'value', text: 'answer of a mailbox' })
    const source = { code: 'return 1', language: 'js' } as const
    earlier.of('a').keep('x', { digest: 'd', source, journal })
    earlier.close()
    const agents = open()
    assert.ok(readFileSync(file).includes('answer of a mailbox'))
    await clock.run(61 * 60_000)
    assert.ok(!readFileSync(file).includes('answer of a mailbox'))
    await agents.close()
  } finally {
    rmSync(state, { recursive: true, force: true })
  }
})
