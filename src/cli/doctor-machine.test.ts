import assert from 'node:assert/strict'
import { test } from 'node:test'
import { kernelBuilt } from './doctor-machine.ts'

test('The day on which a kernel was built is read from its version', () => {
  assert.equal(kernelBuilt('#1 SMP PREEMPT_DYNAMIC Debian 6.1.158-1 (2025-11-09)'), '2025-11-09')
  assert.equal(kernelBuilt('#92-Ubuntu SMP Mon Aug 14 09:30:42 UTC 2023'), '2023-08-14')
  assert.equal(kernelBuilt('#1 SMP PREEMPT_DYNAMIC @0'), undefined)
})
