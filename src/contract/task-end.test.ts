import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TaskEnd } from './provider.ts'
import { cutShort } from './task-end.ts'

test('The end of a cut life keeps its cost, trace and network attempts; its result is dropped', () => {
  const network = [
    {
      host: 'a.example',
      port: 443,
      verdict: 'denied',
      sent: 0,
      received: 0,
      because: 'default',
    },
  ] as const
  const kept = {
    cpuTime: 7,
    memory: { used: 1, peak: 2 },
    ran: [{ start: 0, end: 4, calls: 1 }],
    network,
  }
  const end: TaskEnd = {
    ...kept,
    status: 'ok',
    resultText: '"late"',
    encoding: 'tagged',
    artifacts: [{ path: 'out/a', bytes: new Uint8Array(1) }],
    leftOut: [{ path: 'out/b', because: 'too large' }],
  }
  assert.deepEqual(cutShort({ status: 'timeout' }, end), {
    ...kept,
    status: 'timeout',
    resultText: 'null',
    encoding: 'json',
    artifacts: [],
    error: { code: 'TIMEOUT', message: 'The time to run was over' },
  })
})
