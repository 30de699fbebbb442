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

/** Package with the native binding of the TypeScript transformer. */
const transformer = () => bindingOf('@oxc-transform/binding')

/** The isolate worker: it sees Node, isolated-vm, the TypeScript transformer and the guest's files of this machine. */
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
