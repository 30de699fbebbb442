import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import * as z from 'zod'

/**
 * Everyday programs: written from task titles alone, without knowledge of Mayfly, and never edited since.
 * `programs/README.md` is the task given to the writers.
 */
export interface Program {
  /** Such as `python/001-sales-pivot`. */
  readonly name: string
  readonly folder: string
  readonly title: string
  /** Command line, run in that folder. */
  readonly command: readonly string[]
  readonly stdin: string | undefined
  readonly env: Readonly<Record<string, string>>
  /** Files it creates in its folder. */
  readonly creates: readonly string[]
  /** Names of npm packages that it imports. */
  readonly packages: readonly string[]
  /** For a broken program: texts that a good error message contains. */
  readonly mentions: readonly string[]
}

export const root = join(import.meta.dirname, 'programs')
/** Installed by the tests from the lock file beside it. */
export const packagesFolder = join(root, 'node')

const manifest = z.strictObject({
  title: z.string(),
  command: z.array(z.string()).min(1),
  stdin: z.string().optional(),
  env: z.record(z.string(), z.string()).default({}),
  creates: z.array(z.string()).default([]),
  packages: z.array(z.string()).default([]),
  mentions: z.array(z.string()).default([]),
})

/** Every program, sorted by name; `only` keeps those whose name contains it. */
export function programs(only = ''): readonly Program[] {
  return globSync('*/*/program.json', { cwd: root })
    .filter((path) => !path.includes('node_modules'))
    .sort()
    .map((path) => read(dirname(path)))
    .filter(({ name }) => name.includes(only))
}

function read(name: string): Program {
  const folder = join(root, name)
  const { stdin, ...rest } = manifest.parse(
    JSON.parse(readFileSync(join(folder, 'program.json'), 'utf8')),
  )
  const text = stdin === undefined ? undefined : readFileSync(join(folder, stdin), 'utf8')
  return { name, folder, ...rest, stdin: text }
}

/** The file of the command that is the program, and its arguments. */
export function mainOf({ command }: Program): { readonly file: string; readonly args: string[] } {
  const [program = '', ...args] = command
  if (program.startsWith('./')) return { file: program.slice(2), args }
  const [file = '', ...rest] = args
  return { file, args: rest }
}

/** Seeded sample with equal shares by language: CI runs a sample of the corpus, `MAYFLY_LONG` all of it. */
export function sample(all: readonly Program[], count: number, seed: number): readonly Program[] {
  const groups = Object.values(Object.groupBy(all, ({ name }) => dirname(name))) as Program[][]
  const random = randomFrom(seed)
  return groups.flatMap((group) => {
    const share = Math.max(1, Math.round((count * group.length) / all.length))
    return group
      .map((program) => ({ program, key: random() }))
      .sort((a, b) => a.key - b.key)
      .slice(0, share)
      .map(({ program }) => program)
  })
}

/** Numbers from 0 to 1 by a linear congruential generator (Numerical Recipes). */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32
}

/** Whether the packages of the Node programs are installed. */
export function hasPackages(): boolean {
  return existsSync(join(packagesFolder, 'node_modules'))
}
