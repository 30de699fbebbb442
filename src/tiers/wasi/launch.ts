import { fileURLToPath } from 'node:url'
import { narrowFilter, type JailedProgram } from '../../jail/embedded.ts'
import type { JailLayer } from '../../jail/facts.ts'
import { oneHelperThread } from '../../lib/node-flags.ts'

const here = (place: string) => fileURLToPath(new URL(`../../../${place}`, import.meta.url))

/** The wasm worker. Files of the host in its wall: Node and Mayfly's guest files. */
export function wasmWorker(without: readonly JailLayer[]): JailedProgram {
  return {
    name: 'wasi',
    nodeFlags: ['--max-semi-space-size=2', oneHelperThread],
    main: here('guest/wasm-worker.js'),
    env: {
      MAYFLY_WORKER: JSON.stringify({
        seccomp: without.includes('seccomp') ? null : narrowFilter(),
      }),
    },
    tree: ['guest', 'src/os', 'src/lib', 'package.json'].map(here),
  }
}
