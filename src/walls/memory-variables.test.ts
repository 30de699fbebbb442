import assert from 'node:assert/strict'
import { test } from 'node:test'
import { memoryVariables } from './memory-variables.ts'

const MiB = 2 ** 20

test('The heap of Node is the limit minus its other memory, and at least three quarters of the limit', () => {
  const heapOf = (mib: number) => memoryVariables(mib * MiB, false)
  assert.deepEqual(heapOf(128), { NODE_OPTIONS: '--max-old-space-size=96 --max-semi-space-size=4' })
  assert.deepEqual(heapOf(512), {
    NODE_OPTIONS: '--max-old-space-size=464 --max-semi-space-size=16',
  })
  assert.deepEqual(heapOf(1), { NODE_OPTIONS: '--max-old-space-size=1 --max-semi-space-size=1' })
})

test('A JVM gets the limit if one is installed', () => {
  const { JAVA_TOOL_OPTIONS } = memoryVariables(128 * MiB, true)
  assert.equal(JAVA_TOOL_OPTIONS, '-XX:MaxRAM=134217728')
})
