import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { bind } from './bounds.ts'
import type { WallResources } from './resources.ts'

const skip = process.platform !== 'linux' && 'only Linux has these limits'

test(
  'A wall whose program has just ended can still be bound: it starts no process any more',
  { skip },
  () => {
    const { pid } = spawnSync('true')
    const resources = { processes: [{ pid }], idleTasks: 1 } as unknown as WallResources
    assert.equal(bind(resources, ['user namespace'], { processes: 4 }).processes, 'rlimit')
  },
)
