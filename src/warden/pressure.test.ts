import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Held } from './hold.ts'
import { createPressure } from './pressure.ts'

const MiB = 2 ** 20
const memory = 1_000 * MiB

function held(wall: string, tenant: string, bytes: number): Held {
  const never = { deadlineAt: Infinity, residentMax: Infinity, pid: 1, peakBytes: 0 }
  return { wall, tenant, bytes: bytes * MiB, idleBytes: 10 * MiB, ...never }
}

const walls = [
  held('a1', 'a', 120),
  held('a2', 'a', 130),
  held('b1', 'b', 200),
  held('b2', 'b', 20),
]

test('Nothing is ended while there is room, nor where walls hold little of what is used', () => {
  const roomy = createPressure({ memory, isBound: false, availableBytes: () => 500 * MiB })
  assert.equal(roomy(walls, 0), undefined)
  const others = createPressure({ memory, isBound: false, availableBytes: () => 0 })
  assert.equal(others([held('a1', 'a', 50)], 0), undefined)
})

test('Short of memory, the tenant that holds most loses the wall that holds most', () => {
  const short = createPressure({ memory, isBound: false, availableBytes: () => 10 * MiB })
  assert.equal(short(walls, 0)?.wall, 'a2')
})

test('The next is ended once the pages of the one before have had time to come free', () => {
  const short = createPressure({ memory, isBound: false, availableBytes: () => 10 * MiB })
  assert.ok(short(walls, 0))
  assert.equal(short(walls, 100), undefined)
  assert.ok(short(walls, 200))
})

test('In a container, what all walls hold counts against its bound', () => {
  const bound = createPressure({ memory: 500 * MiB, isBound: true })
  assert.equal(bound(walls, 0)?.wall, 'a2')
  assert.equal(createPressure({ memory: 600 * MiB, isBound: true })(walls, 0), undefined)
})
