import { suite, test } from 'node:test'
import { makeDraw } from '../fixtures/drawn.ts'
import { withNeither } from '../fixtures/half.ts'
import { inWasm } from './guests-in-wasm.ts'
import { conformance } from './suite.ts'
import { makeWasi } from './wasi.ts'

conformance('wasi, in the best jail there is', () => makeWasi(), inWasm, makeDraw('best'))
const elsewhere = withNeither()
if (elsewhere)
  suite('wasi, as an ordinary user', () => {
    test('The provider keeps the contract', { skip: elsewhere }, () => {})
  })
else
  conformance(
    'wasi, as an ordinary user',
    () => makeWasi({ hide: ['root', 'cgroup'] }),
    inWasm,
    makeDraw('poorer'),
  )
