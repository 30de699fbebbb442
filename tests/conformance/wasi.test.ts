import { inWasm } from './guests-in-wasm.ts'
import { conformance } from './suite.ts'
import { makeWasi } from './wasi.ts'

conformance('wasi, in the best jail there is', () => makeWasi(), inWasm)
conformance('wasi, as an ordinary user', () => makeWasi({ hide: ['root', 'cgroup'] }), inWasm)
