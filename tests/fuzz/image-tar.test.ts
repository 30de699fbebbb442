import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TarReader } from '../../src/images/tar.ts'
import { ImageTree } from '../../src/images/tree.ts'
import { tarOf } from '../fixtures/images.ts'
import { fuzz, mutated } from './seeded.ts'

const samples = [
  [
    { path: './', type: '5' },
    { path: './usr/bin/a', text: 'hello', mode: 0o4755 },
  ],
  [
    { path: 'usr/bin/a', text: 'x' },
    { path: 'bin/b', type: '1', target: 'usr/bin/a' },
  ],
  [{ path: `a/${'b/'.repeat(80)}c`, text: 'long' }],
  [{ path: 'lib', type: '2', target: 'usr/lib' }],
  [{ path: 'etc/x', type: '2', target: '../../../etc/passwd' }],
].map(tarOf)

test('A tar stream of any bytes is read into checked paths within its own bytes, or refused', (t) => {
  fuzz(t, {
    cases: 5_000,
    long: 200_000,
    attempt(random) {
      const bytes = mutated(random, samples)
      const tree = new ImageTree()
      let size = 0
      const reader = new TarReader({
        entry: (entry) => tree.add(entry, size),
        data: (data) => (size += data.length),
      })
      try {
        for (let at = 0; at < bytes.length;) {
          const next = at + 1 + random.below(random.pick([3, 600, 5000]))
          reader.push(bytes.subarray(at, next))
          at = next
        }
        reader.end()
        for (const [place, node] of tree.sorted()) {
          assert.doesNotMatch(place, /^\/|(^|\/)\.\.?(\/|$)|\/\//)
          if (node.kind === 'file') assert.ok(node.at + node.size <= size)
        }
      } catch (thrown) {
        assert.ok(thrown instanceof RangeError, String(thrown))
      }
    },
  })
})
