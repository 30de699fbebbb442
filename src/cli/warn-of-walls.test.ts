import assert from 'node:assert/strict'
import { test } from 'node:test'
import { warnOfWalls } from './warn-of-walls.ts'

test('A server warns of a configured wall that is unavailable, and not of one whose probe ends after the stop', async (t) => {
  const written: string[] = []
  t.mock.method(process.stderr, 'write', (text: string) => written.push(text) > 0)
  const wall = {
    name: 'embedded',
    setBy: 'spares',
    reason: 'it was refused',
    fix: 'Install it',
  } as const
  const never = new Promise<never>(() => undefined)
  await warnOfWalls({ unavailable: async () => [wall] }, {}, never)
  assert.match(written.join(''), /Cannot use wall "embedded", which "spares" names: it was refused/)
  written.length = 0
  const probing = Promise.withResolvers<readonly [typeof wall]>()
  const stopped = Promise.withResolvers<void>()
  const warned = warnOfWalls({ unavailable: () => probing.promise }, {}, stopped.promise)
  stopped.resolve()
  await warned
  probing.resolve([wall])
  await new Promise((resolve) => void setImmediate(resolve))
  assert.deepEqual(written, [])
})
