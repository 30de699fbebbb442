import { fileURLToPath } from 'node:url'
import { cellBinding } from '../../jail/cell-binding.ts'
import { narrowFilter, type JailedProgram } from '../../jail/embedded.ts'
import type { JailLayer } from '../../jail/facts.ts'
import { installedNative } from '../../jail/joined.ts'
import { oneHelperThread } from '../../lib/node-flags.ts'
import { chainOf, placed, withBinding } from '../../os/packages.ts'

/** Settings that a server may choose; all others are fixed here. */
export interface WorkerSettings {
  readonly spares: number
  readonly spareMiB: number
}

const here = (place: string) => fileURLToPath(new URL(`../../../${place}`, import.meta.url))

/**
 * The isolate worker. Files of the host in its wall: Node, isolated-vm, the TypeScript transformer and Mayfly's guest
 * files.
 */
export function isolateWorker(
  settings: WorkerSettings,
  without: readonly JailLayer[],
): JailedProgram {
  const native = installedNative()
  const { folders, links } = placed([
    ...(native === undefined ? chainOf('isolated-vm', 'node-gyp-build') : []),
    ...withBinding('oxc-transform', '@oxc-transform/binding'),
  ])
  return {
    name: 'isolated-vm',
    nodeFlags: ['--max-semi-space-size=2', oneHelperThread],
    main: here('guest/isolate-worker.js'),
    env: {
      MAYFLY_WORKER: JSON.stringify({
        ...settings,
        binding: cellBinding(),
        seccomp: without.includes('seccomp') ? null : narrowFilter(),
      }),
    },
    tree: [
      ...['guest', 'src/os', 'package.json'].map(here),
      ...(native === undefined ? [] : [native]),
      ...folders,
    ],
    links,
  }
}
