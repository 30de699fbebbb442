import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runInNewContext } from 'node:vm'
import { collectGarbage } from './collect-garbage.ts'

test('Garbage is collected, and no context has the function for it, before or after', () => {
  const held = new WeakRef({ large: 'x'.repeat(1000) })
  return new Promise<void>((resolve) => {
    // A WeakRef keeps its target until the turn ends.
    setImmediate(() => {
      collectGarbage()
      assert.equal(held.deref(), undefined)
      assert.equal(typeof runInNewContext('globalThis.gc'), 'undefined')
      assert.equal('gc' in globalThis, false)
      resolve()
    })
  })
})
