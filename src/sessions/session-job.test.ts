import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../contract/clock.ts'
import {
  execJob,
  readExec,
  readSession,
  readTerminal,
  sessionJob,
  terminalJob,
} from './session-job.ts'

const owner = { tenant: 'default', principal: 'key', origin: 'http' } as const
const schema = { type: 'integer' }

test('Output and artifacts of a session are those of its execs that give none, and not of terminals or of its own outcome', () => {
  const asked = readSession({ output: { schema, gate: 'whole' }, artifacts: 'inline' })
  const of = { id: 'exec_1', asked }
  const own = ({ output, artifacts }: { output: unknown; artifacts: unknown }) => [
    output,
    artifacts,
  ]
  const plain = [{ gate: 'stream' }, 'reference']
  const execOf = (body: object) =>
    own(execJob(readExec({ code: '1', ...body }), of, owner, systemClock).asked)
  assert.deepEqual(execOf({}), [{ schema, gate: 'whole' }, 'inline'])
  assert.deepEqual(execOf({ output: {}, artifacts: 'reference' }), plain)
  const terminal = terminalJob(readTerminal({}), of, owner, systemClock).job
  assert.deepEqual(own(terminal.asked), plain)
  assert.deepEqual(own(sessionJob(asked, owner, systemClock).asked), plain)
  const bare = { id: 'exec_2', asked: readSession({}) }
  assert.deepEqual(own(execJob(readExec({ code: '1' }), bare, owner, systemClock).asked), plain)
})

test('A field of an execution that a session or its exec does not have is refused by name, with the request that takes it', () => {
  const refusal = (read: () => unknown) => {
    try {
      read()
    } catch (error) {
      return (error as { readonly details: readonly object[] }).details[0]
    }
    return undefined
  }
  const atOpening = (path: string) => refusal(() => readSession({ [path]: 1 }))
  for (const path of ['code', 'command', 'input', 'stdin', 'signature'])
    assert.deepEqual(atOpening(path), {
      path,
      message: 'belongs to an exec of the session (POST /v1/sandboxes/{id}/run, or box.run)',
    })
  for (const path of ['entry', 'effectId', 'idempotent', 'calls'])
    assert.deepEqual(atOpening(path), {
      path,
      message: 'belongs to an execution (POST /v1/executions, or mayfly.run), not to a session',
    })
  assert.deepEqual(
    refusal(() => readExec({ code: '1', files: [] })),
    {
      path: 'files',
      message: 'belongs to the opening of the session (POST /v1/sandboxes, or mayfly.open)',
    },
  )
  assert.deepEqual(atOpening('more'), { path: 'more', message: 'unknown field' })
})
