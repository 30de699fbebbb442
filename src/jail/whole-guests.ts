import { fileURLToPath } from 'node:url'
import { cellBinding } from './cell-binding.ts'
import type { JailedProgram } from './embedded.ts'
import { withBinding } from '../os/packages.ts'
import { ownBinding, ownFolder, pythonFile, type WholeProgram } from './whole.ts'

/**
 * The two runners of whole programs that wait for a job, in any kind of wall: Node, which also starts shells, and
 * Python.
 */

/** Settings that a server may choose; all others are fixed here. */
export interface ProgramSettings {
  /** /work, /tmp and /dev/shm together. */
  readonly scratchBytes: number
  /** True, the default, to run a dummy job before it reports readiness. */
  readonly isWarm?: boolean
  /** True to start all threads of the interpreter before the job begins, because a bound may forbid them later. */
  readonly hasThreads?: boolean
}

const here = (place: string) => fileURLToPath(new URL(`../../${place}`, import.meta.url))
const NODE = `${ownFolder}/bin/node`
const NODE_RUNNER = ['guest', 'src/os', 'package.json']
const PYTHON_RUNNER = ['guest/process']

/** A parked Node that runs one job: of language `node`, or a shell script. */
export function nodeProgram({
  scratchBytes,
  isWarm = true,
  hasThreads = true,
}: ProgramSettings): JailedProgram {
  return {
    name: 'node',
    nodeFlags: [],
    main: here('guest/process/node.js'),
    env: {},
    tree: [],
    whole: {
      interpreter: process.execPath,
      flags: [
        '--disable-warning=ExperimentalWarning',
        '--disable-warning=MODULE_TYPELESS_PACKAGE_JSON',
        '--max-semi-space-size=2',
        // V8 collects nothing below it, and by default sizes it by the machine: 160 MiB, above the memory of many jobs.
        '--initial-old-space-size=16',
        // A batch compiled by another thread costs a wake, and each wake is a host call under a user-space kernel.
        '--no-concurrent-sparkplug',
      ],
      scratchBytes,
      isWarm,
      hasThreads,
      places: [...places(NODE_RUNNER), ...packages()],
    },
  }
}

/** A parked Python of the system. */
export function pythonProgram({ scratchBytes, isWarm = true }: ProgramSettings): JailedProgram {
  return {
    name: 'python',
    nodeFlags: [],
    main: here('guest/process/python.py'),
    env: {},
    tree: [],
    whole: {
      interpreter: pythonFile,
      // -S: the runner does what `site` would, see guest/process/mayfly_site.py.
      flags: ['-I', '-S'],
      scratchBytes,
      isWarm,
      hasThreads: false,
      places: places(PYTHON_RUNNER),
    },
  }
}

let found: WholeProgram['places'] | undefined

/** Packages that the runner of Node loads. Looked up once: they are dependencies of Mayfly. */
function packages(): WholeProgram['places'] {
  const at = (name: string) => `${ownFolder}/node_modules/${name}`
  found ??= [
    ...withBinding('oxc-transform', '@oxc-transform/binding').map(({ name, real }) => ({
      from: real,
      at: at(name),
    })),
    ...cellPlaces(at('isolated-vm')),
  ]
  return found
}

/**
 * The binding by which the runner of Node runs cells, and a package of its name at `at`; nothing where this platform has
 * no binding.
 */
function cellPlaces(at: string): WholeProgram['places'] {
  const native = cellBinding()
  if (native === undefined) return []
  return [
    { from: native, at: ownBinding },
    { from: here('guest/native/isolated-vm'), at },
  ]
}

/** Both walls contain Node, because a program may start it. */
function places(runner: readonly string[]): WholeProgram['places'] {
  const own = runner.map((place) => ({ from: here(place), at: `${ownFolder}/${place}` }))
  return [{ from: process.execPath, at: NODE }, ...own]
}
