import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** Resources this process may leak, as reported by the kernel. A zombie counts as dead. */

export function descendantsOf(pid: number): readonly number[] {
  const below = tasksOf(pid)
    .flatMap((task) => words(`/proc/${pid}/task/${task}/children`))
    .map(Number)
    .filter(isRunning)
  return [...below, ...below.flatMap(descendantsOf)]
}

/** How many descriptors are open, by kind: `socket`, `pipe`, `anon_inode:[eventfd]`, a path. */
export function kindsOpen(): Readonly<Record<string, number>> {
  const kinds: Record<string, number> = {}
  for (const kind of names('/proc/self/fd').flatMap(kindOf).sort())
    kinds[kind] = (kinds[kind] ?? 0) + 1
  return kinds
}

function kindOf(fd: string): readonly string[] {
  try {
    const target = readlinkSync(`/proc/self/fd/${fd}`)
    // The folder being listed is itself open.
    return target === `/proc/${process.pid}/fd` ? [] : [target.replace(/:\[\d+\]$/, '')]
  } catch {
    return []
  }
}

export function isRunning(pid: number): boolean {
  const stat = text(`/proc/${pid}/stat`)
  return stat !== '' && !['Z', 'X'].includes(stat.slice(stat.lastIndexOf(')') + 2)[0] ?? 'X')
}

function tasksOf(pid: number): readonly string[] {
  return names(`/proc/${pid}/task`)
}

function words(file: string): readonly string[] {
  return text(file).split(' ').filter(Boolean)
}

function names(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function text(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch {
    return ''
  }
}
