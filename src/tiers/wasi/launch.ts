import { fileURLToPath } from 'node:url'
import { narrowFilter, type JailedProgram } from '../../jail/embedded.ts'
import type { JailLayer } from '../../jail/facts.ts'

const here = (place: string) => fileURLToPath(new URL(`../../../${place}`, import.meta.url))

/** The wasm worker: it sees Node and the guest's files of this machine. */
export function wasmWorker(without: readonly JailLayer[]): JailedProgram {
  return {
    name: 'wasi',
    nodeFlags: ['--max-semi-space-size=2'],
    main: here('guest/wasm-worker.js'),
    env: {
      MAYFLY_WORKER: JSON.stringify({
        seccomp: without.includes('seccomp') ? null : narrowFilter(),
      }),
    },
    tree: ['guest', 'src/os', 'src/lib', 'package.json'].map(here),
  }
}
