import { fileURLToPath } from 'node:url'
import { narrowFilter, type JailedProgram } from '../../jail/embedded.ts'
import type { Layer } from '../../jail/facts.ts'
import { packageFolder } from '../../os/packages.ts'

/** What the server may ask for; everything else about the program is decided here. */
export interface WorkerSettings {
  readonly spares: number
  readonly spareMiB: number
}

const HERE = new URL('../../../', import.meta.url)

/** The isolate worker: Node, isolated-vm and the guest's own files, nothing else of this machine. */
export function isolateWorker(settings: WorkerSettings, without: readonly Layer[]): JailedProgram {
  return {
    name: 'isolated-vm',
    nodeFlags: ['--max-semi-space-size=2'],
    main: 'guest/isolate-worker.js',
    env: {
      MAYFLY_WORKER: JSON.stringify({
        ...settings,
        seccomp: without.includes('seccomp') ? null : narrowFilter(),
      }),
    },
    tree: [
      { from: fileURLToPath(new URL('guest', HERE)), to: 'guest' },
      { from: fileURLToPath(new URL('src/os', HERE)), to: 'src/os' },
      { from: fileURLToPath(new URL('package.json', HERE)), to: 'package.json' },
      { from: packageFolder('isolated-vm'), to: 'node_modules/isolated-vm' },
      { from: packageFolder('node-gyp-build'), to: 'node_modules/node-gyp-build' },
    ],
  }
}
