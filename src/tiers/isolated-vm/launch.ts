import { fileURLToPath } from 'node:url'
import { narrowFilter, type JailedProgram } from '../../jail/embedded.ts'
import type { JailLayer } from '../../jail/facts.ts'
import { bindingOf, packageFolder } from '../../os/packages.ts'

/** Settings that a server may choose; everything else about the program is decided here. */
export interface WorkerSettings {
  readonly spares: number
  readonly spareMiB: number
}

const here = (place: string) => fileURLToPath(new URL(`../../../${place}`, import.meta.url))

/** The native half of what makes JavaScript of TypeScript. */
const transformer = () => bindingOf('@oxc-transform/binding')

/** The isolate worker: Node, isolated-vm, the transformer of TypeScript and the guest's own files, nothing else of this machine. */
export function isolateWorker(
  settings: WorkerSettings,
  without: readonly JailLayer[],
): JailedProgram {
  return {
    name: 'isolated-vm',
    nodeFlags: ['--max-semi-space-size=2'],
    main: here('guest/isolate-worker.js'),
    env: {
      MAYFLY_WORKER: JSON.stringify({
        ...settings,
        seccomp: without.includes('seccomp') ? null : narrowFilter(),
      }),
    },
    tree: [
      ...['guest', 'src/os', 'package.json'].map(here),
      ...['isolated-vm', 'node-gyp-build', 'oxc-transform', transformer()].map((name) =>
        packageFolder(name),
      ),
    ],
  }
}
