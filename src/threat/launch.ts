import { fileURLToPath } from 'node:url'
import { narrowFilter, type JailedProgram } from '../jail/embedded.ts'
import type { Layer } from '../jail/facts.ts'
import { packageFolder } from '../os/packages.ts'

const here = (place: string) => fileURLToPath(new URL(`../../${place}`, import.meta.url))
const DATA_BYTES_MAX = 2 ** 31
const OXC_BINDING = `@oxc-parser/binding-${process.platform}-${process.arch}`

/** The analysis process: the parser and the rules, jailed like an isolate worker. */
export function analyst(warm: number, without: readonly Layer[]): JailedProgram {
  return {
    name: 'analyst',
    nodeFlags: ['--max-semi-space-size=2'],
    main: here('guest/analyst.js'),
    env: {
      MAYFLY_ANALYST: JSON.stringify({
        warm,
        seccomp: without.includes('seccomp') ? null : narrowFilter(),
      }),
    },
    tree: [
      ...['guest', 'src/os', 'src/threat', 'src/contract', 'src/lib', 'package.json'].map(here),
      ...['oxc-parser', bindingName(), 'zod'].map((name) => packageFolder(name)),
    ],
    dataBytesMax: DATA_BYTES_MAX,
  }
}

/** The parser's native half, for the C library here. */
function bindingName(): string {
  for (const name of [`${OXC_BINDING}-gnu`, `${OXC_BINDING}-musl`, OXC_BINDING]) {
    try {
      packageFolder(name)
      return name
    } catch {
      // Not the one for this machine.
    }
  }
  throw new Error(`Cannot find the parser for ${process.platform} ${process.arch}`)
}
