import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const bench = fileURLToPath(new URL('../../bench/server.ts', import.meta.url))

test('S0-21: The bench prints the overhead of a job over plain HTTP, at the median and at the 95th percentile', async () => {
  const args = [bench, '--seconds', '1', '--at', '2', '--json']
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 120_000 })
  const { concurrency } = JSON.parse(stdout) as { concurrency: Record<string, any> }
  assert.deepEqual(Object.keys(concurrency), ['2'])
  for (const { mayfly, bareHono, overheadMs } of Object.values(concurrency)) {
    assert.ok(mayfly.n > 0 && bareHono.n > 0)
    for (const at of ['p50', 'p95']) {
      const gap = mayfly[at] - bareHono[at]
      assert.ok(Math.abs(overheadMs[at] - gap) < 0.01, `${at}: ${overheadMs[at]} is not ${gap}`)
    }
  }
})
