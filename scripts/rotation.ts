import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { here } from './place.ts'

/**
 * Files that a run of CI may leave out. Problem: all files of walls and doors take 35 minutes on two cores, most of them for tests of
 * machines, containers, packages and corpora, which few changes touch. Of each group a share of the files runs, drawn by the
 * seed of the run, one at least. A file that the newest commits changed runs, and one that imports what they changed; a whole group
 * where they changed what it is about; every file in `npm run ci -- long`.
 */
interface Group {
  readonly files: RegExp
  /** Beginnings of the paths of its sources. */
  readonly about: readonly string[]
  /** Number of files of which one runs. */
  readonly share: number
}

const seldom = 8
const often = 4
/** Tests of walls and of Mayfly's own files: root and users use different mechanisms, so they run each time, as both. */
export const always =
  /^tests\/(?:walls\/(?:warden|process-faults|process-ways|kill)|doors\/(?:state-folder|state-owner|older-tree))/

export const groups: readonly Group[] = [
  {
    files:
      /^tests\/(?:conformance\/(?:firecracker|microvm|userkernel)|hostile\/process\/(?:microvm|userkernel)|doors\/machine-|walls\/(?:agent|broken-out|carrier|clone-|cold-boot|firecracker-(?:machine|jobs)|guest-|machine|microvm|user-kernel))/,
    about: [
      'guest/agent/',
      'src/tiers/firecracker/',
      'src/tiers/microvm/',
      'src/tiers/userkernel/',
      ...['agent-guest', 'firecracker', 'qemu', 'user-mode-linux'].map(
        (engine) => `src/warden/engines/${engine}/`,
      ),
    ],
    share: seldom,
  },
  {
    files: /^tests\/(?:.*\/containers|walls\/container-image)\.test/,
    about: ['examples/docker/', 'src/tiers/container/', 'src/warden/engines/processes/containers/'],
    share: seldom,
  },
  {
    files: /^tests\/.*\/gvisor\.test/,
    about: ['src/tiers/gvisor/', 'src/warden/engines/runsc/'],
    share: seldom,
  },
  {
    files: /^tests\/(?:doors\/(?:images|python-data)|walls\/(?:image-|compile-python|python-site))/,
    about: ['guest/compile-image.py', 'images/', 'src/images/', 'src/cli/images'],
    share: seldom,
  },
  {
    files: /^tests\/doors\/(?:bridge|deploy|frameworks|install|pack|small-bundle)\.test/,
    about: ['bin/', 'package.json', 'scripts/pack', 'src/sdk/bridge/', 'src/sdk/frameworks/'],
    share: seldom,
  },
  {
    files: /^tests\/(?:doors\/hosts|hostile\/process\/kept|walls\/kept)\.test/,
    about: ['guest/sentinel/keep', 'src/cli/setup', 'src/jail/kept'],
    share: seldom,
  },
  {
    files:
      /^tests\/(?:everyday\/|doors\/(?:same-everywhere|one-program)|hostile\/(?:bites|mayfly|process\/(?:bites|layers|mayfly)|sessions\/|wasi\/))/,
    about: [
      'guest/sentinel/',
      'policies/se',
      'src/jail/launch',
      'src/jail/sentinel',
      'src/jail/whole',
    ],
    share: seldom,
  },
  {
    files: /^tests\/(?:doors\/(?:code-mode|exec|mcp)|hostile\/folder\/)/,
    about: ['guest/folder/', 'src/cli/exec', 'src/cli/mcp', 'src/folder-wall/', 'src/mcp/'],
    share: seldom,
  },
  {
    files: /^tests\/(?:conformance|doors|hostile|library|walls)\//,
    about: ['package-lock.json', 'tests/fixtures/drawn.ts'],
    share: often,
  },
]

/** Files of a run, and those that it leaves out. `rank` orders the files by a seed; `changed` has paths of the newest commits. */
export function rotated(
  files: readonly string[],
  rank: (file: string) => number,
  changed: ReadonlySet<string>,
): { readonly taken: readonly string[]; readonly left: readonly string[] } {
  const left = new Set(groups.flatMap((group) => leftOf(group, files, rank, changed)))
  return { taken: files.filter((file) => !left.has(file)), left: [...left].toSorted() }
}

/** The first group that a file is in. */
export function groupOf(file: string): Group | undefined {
  return always.test(file) ? undefined : groups.find((group) => group.files.test(file))
}

function leftOf(
  group: Group,
  files: readonly string[],
  rank: (file: string) => number,
  changed: ReadonlySet<string>,
): readonly string[] {
  const isTouched = [...changed].some((path) => group.about.some((place) => path.startsWith(place)))
  if (isTouched) return []
  const own = files
    .filter((file) => groupOf(file) === group)
    .toSorted((a, b) => rank(a) - rank(b) || a.localeCompare(b))
  return own.slice(Math.ceil(own.length / group.share)).filter((file) => !touches(file, changed))
}

/** Whether a test is changed, or imports a module that is. */
function touches(file: string, changed: ReadonlySet<string>): boolean {
  if (changed.has(file)) return true
  const text = readFileSync(join(here.folder, file), 'utf8')
  return [...text.matchAll(/^(?:import|\}) .*'(\.[^']+)'$/gm)].some(([, path]) =>
    changed.has(join(dirname(file), path!)),
  )
}
