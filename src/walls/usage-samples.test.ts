import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MayflyError, type ErrorCode } from '../contract/error.ts'
import type { Point } from '../contract/event.ts'
import { sampleUsage } from './usage-samples.ts'

function stand(isAlone: boolean, failures: ErrorCode[] = []) {
  const done: (Point | 'begin' | 'usage')[] = []
  const sampled = Promise.withResolvers<void>()
  const samples = sampleUsage({
    warden: {
      usage() {
        done.push('usage')
        const code = failures.shift()
        if (code) return Promise.reject(new MayflyError(code, 'Cannot read it'))
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

test(
  'A request that fails is followed by the next one, unless the wall is gone',
  { timeout: 60_000 },
  async () => {
    const { done, samples, sampled } = stand(true, ['PROTOCOL', 'WARDEN_LOST'])
    using _samples = samples
    await sampled
    assert.deepEqual(done, ['begin', 'usage', 'usage', ...first.slice(1)])

    const gone = stand(true, ['NOT_FOUND'])
    using _gone = gone.samples
    await new Promise((resolve) => void setTimeout(resolve, 400))
    assert.deepEqual(gone.done, ['begin', 'usage'])
  },
)
