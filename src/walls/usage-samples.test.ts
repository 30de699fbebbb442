import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Point } from '../contract/event.ts'
import { sampleUsage } from './usage-samples.ts'

function stand(isAlone: boolean) {
  const done: (Point | 'begin' | 'usage')[] = []
  const sampled = Promise.withResolvers<void>()
  const samples = sampleUsage({
    warden: {
      usage() {
        done.push('usage')
        return Promise.resolve({ processes: 0, bytes: 1, cpuMs: 1, waitedMs: 0, atMs: 1 })
      },
    },
    wall: 'w1',
    run: 'r',
    emitter: {
      emit(point) {
        done.push(point)
        if (point === 'seen/cpu') sampled.resolve()
      },
    },
    begin: () => void done.push('begin'),
    isAlone,
  })
  return { done, samples, sampled: sampled.promise }
}

const first = ['begin', 'usage', 'seen/processes', 'seen/memory', 'seen/cpu']

test('A guest that cannot start a process is first reported with its first sample, not at its release', async () => {
  const { done, samples, sampled } = stand(true)
  using _samples = samples
  assert.deepEqual(done, [])
  await sampled
  assert.deepEqual(done, first)
})

test('A program is one process at its release; the warden counts for it before the first sample', async () => {
  const { done, samples, sampled } = stand(false)
  using _samples = samples
  assert.deepEqual(done, ['seen/processes'])
  await sampled
  assert.deepEqual(done, ['seen/processes', ...first])
})

test('A guest that ends before its first sample is neither sampled nor begun', async () => {
  const { done, samples } = stand(true)
  samples[Symbol.dispose]()
  await new Promise((resolve) => void setTimeout(resolve, 60))
  assert.deepEqual(done, [])
})
