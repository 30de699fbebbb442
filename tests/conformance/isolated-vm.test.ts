import { makeDraw } from '../fixtures/drawn.ts'
import { makeIsolates } from './isolated-vm.ts'
import { inJs } from './stand.ts'
import { conformance } from './suite.ts'

conformance('isolated-vm, in the best jail there is', () => makeIsolates(), inJs, makeDraw('best'))
