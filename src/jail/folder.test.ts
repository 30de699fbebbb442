import assert from 'node:assert/strict'
import { test } from 'node:test'
import { folderWallArguments } from './folder.ts'

const skip = process.platform !== 'linux' && 'only Linux has this wall'

test(
  'A memory limit that rounds to nothing is none of the values that mean no limit',
  { skip },
  () => {
    const wall = {
      folder: '/srv/project',
      home: undefined,
      binds: [],
      closed: [],
      lifted: [],
      secretNames: [],
      uid: 1000,
      gid: 1000,
      command: ['true'],
      terminals: [],
      timeoutMs: undefined,
      processes: 4,
      egressPort: undefined,
    } as const
    for (const memoryBytes of [0, 1, 3]) {
      const words = folderWallArguments({ ...wall, memoryBytes })
      assert.ok(words.includes(`memory=${Math.max(1, memoryBytes)}`), `${memoryBytes} bytes`)
      assert.deepEqual(
        words.filter((word) => /^size=0\b/.test(word)),
        [],
      )
    }
    const held = folderWallArguments({ ...wall, memoryBytes: 3, isMemoryHeld: true })
    assert.ok(held.includes('memory=0'))
  },
)
