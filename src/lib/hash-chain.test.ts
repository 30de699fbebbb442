import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chainStart, chainStep } from './hash-chain.ts'
import { sha256 } from './hash.ts'

test('A head depends on every item before it and on their order', () => {
  const [a, b] = [sha256('a'), sha256('b')]
  const ab = chainStep(chainStep(chainStart, a), b)
  const ba = chainStep(chainStep(chainStart, b), a)
  assert.notEqual(ab, ba)
  assert.equal(ab, sha256(sha256(chainStart + a) + b))
})
