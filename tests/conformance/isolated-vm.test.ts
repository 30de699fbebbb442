import { makeIsolates } from './isolated-vm.ts'
import { conformance } from './suite.ts'

conformance('isolated-vm, in the best jail there is', () => makeIsolates())
