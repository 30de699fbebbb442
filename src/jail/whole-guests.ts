import { fileURLToPath } from 'node:url'
import type { JailedProgram } from './embedded.ts'
import { withBinding } from '../os/packages.ts'
import { ownFolder, pythonFile, type WholeProgram } from './whole.ts'

/**
 * The two runners that park and wait for whole programs, in whichever wall: Node, which starts shells too, and Python.
 */

/** Settings that a server may choose; everything else about the program is decided here. */
export interface ProgramSettings {
  /** /work, /tmp and /dev/shm together. */
  readonly scratchBytes: number
  /** Runs a dummy job before it says that it is ready, as it does unless told otherwise. */
  readonly isWarm?: boolean
  /** Has every thread that its interpreter works with before its job begins: later it may be allowed none. */
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
      ],
      scratchBytes,
      isWarm,
      hasThreads,
      places: [...places(NODE_RUNNER), ...packages()],
    },
  }
}

/** A parked Python, the one that belongs to the system. */
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
  found ??= withBinding('oxc-transform', '@oxc-transform/binding').map(({ name, real }) => ({
    from: real,
    at: `${ownFolder}/node_modules/${name}`,
  }))
  return found
}

/** Node is there for both: a program may start it. */
function places(runner: readonly string[]): WholeProgram['places'] {
  const own = runner.map((place) => ({ from: here(place), at: `${ownFolder}/${place}` }))
  return [{ from: process.execPath, at: NODE }, ...own]
}
