import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { bind } from './bounds.ts'
import type { Taken } from './taken.ts'

const skip = process.platform !== 'linux' && 'only Linux has these limits'

test(
  'A wall whose program ended just now can still be bound: it starts nothing more',
  { skip },
  () => {
    const { pid } = spawnSync('true')
    const taken = { processes: [{ pid }], idleTasks: 1 } as unknown as Taken
    assert.equal(bind(taken, ['user namespace'], { processes: 4 }).processes, 'rlimit')
  },
)
