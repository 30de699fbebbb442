import { fileURLToPath } from 'node:url'
import { narrowFilter, type JailedProgram } from '../jail/embedded.ts'
import type { JailLayer } from '../jail/facts.ts'
import { oneHelperThread } from '../lib/node-flags.ts'
import { placed, withBinding } from '../os/packages.ts'

const here = (place: string) => fileURLToPath(new URL(`../../${place}`, import.meta.url))
const DATA_BYTES_MAX = 2 ** 31

/** Launch description of the analysis process: parser and rules, jailed like an isolate worker. */
export function analyst(warm: number, without: readonly JailLayer[]): JailedProgram {
  const { folders, links } = placed(withBinding('oxc-parser', '@oxc-parser/binding'))
  return {
    name: 'analyst',
    // Without the flags of the heap the garbage of many sources grows the heap to four times its size before a collection, and
    // the process counts as spent.
    nodeFlags: ['--max-semi-space-size=2', '--heap-growing-percent=50', oneHelperThread],
    main: here('guest/analyst.js'),
    env: {
      // Separate arenas for V8's threads would each retain free pages.
      MALLOC_ARENA_MAX: '1',
      MAYFLY_ANALYST: JSON.stringify({
        warm,
        seccomp: without.includes('seccomp') ? null : narrowFilter(),
      }),
    },
    tree: [
      ...['guest', 'src/os', 'src/threat', 'src/contract', 'src/lib', 'package.json'].map(here),
      ...folders,
    ],
    links,
    dataBytesMax: DATA_BYTES_MAX,
  }
}
