import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ProvedProvider } from '../contract/provider.ts'
import { wallsVerdict } from './walls-verdict.ts'

const wall = (name: string, languages: readonly string[], strength = 1, missing: string[] = []) =>
  ({
    provider: { name, tier: 'process', languages },
    availability: { available: true, strength, layers: [], missing },
  }) as unknown as ProvedProvider
const isolate = wall('isolated-vm', ['js', 'ts'])
const whole = wall('embedded', ['node', 'python', 'sh', 'bash'], 3)

test('The verdict names what can run, the strongest wall, and trials that were not held', () => {
  assert.equal(
    wallsVerdict([isolate, whole], [], 12),
    'ready: JavaScript, Python, Node, shell; none for WebAssembly; strongest wall embedded (strength 3); nothing below its promise in 12 trials',
  )
  const broken = [{ wall: 'embedded', trial: 'node: memory' }]
  assert.match(
    wallsVerdict([isolate, whole], broken, 12),
    /^not safe: .*; below its promise: embedded \(node: memory\)$/,
  )
})

test('A machine without a wall is not ready, and one without Python has none for it', () => {
  const mock = { ...isolate, provider: { ...isolate.provider, tier: 'mock' } } as ProvedProvider
  for (const none of [[], [mock]]) assert.match(wallsVerdict(none), /^not ready: no wall/)
  const bare = wall('embedded', ['node', 'python'], 3, ['python: there is no python3'])
  assert.match(wallsVerdict([bare]), /^ready: Node; none for JavaScript, Python, shell/)
})
