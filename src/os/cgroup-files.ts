import { existsSync, readFileSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'

/** The files of control groups, alike in both versions. */

/** Below each controller's root, or the one root there is. */
export const groupsFolder = 'mayfly'
export const cpuPeriodUs = 100_000
/** Less than this of a period is refused by the kernel. */
const CPU_QUOTA_US_MIN = 1_000

export function put(folder: string, file: string, value: number | string): void {
  writeFileSync(path.join(folder, file), String(value))
}

export function tryPut(folder: string, file: string, value: number | string): void {
  try {
    if (existsSync(path.join(folder, file))) put(folder, file, value)
  } catch {
    // Not every kernel has every file, and a group that is gone needs nothing any more.
  }
}

/** The kernel rounds down to pages; anything above what was asked is a limit that does not hold. */
export function putBack(folder: string, file: string, value: number): void {
  put(folder, file, value)
  const holds = numberIn(folder, file)
  if (!(holds <= value)) throw new Error(`${file} is ${holds} after writing ${value}`)
}

/** For a file whose text is read back in other words. */
export function putText(folder: string, file: string, value: string, holds: RegExp): void {
  put(folder, file, value)
  const text = textIn(folder, file)
  if (!holds.test(text)) throw new Error(`${file} is "${text.trim()}" after writing "${value}"`)
}

export function quotaUs(cores: number): number {
  return Math.max(CPU_QUOTA_US_MIN, Math.round(cores * cpuPeriodUs))
}

export function textIn(folder: string, file: string): string {
  return readFileSync(path.join(folder, file), 'utf8')
}

export function numberIn(folder: string, file: string): number {
  return Number(textIn(folder, file))
}

export function groupsIn(folder: string): readonly string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
}

/** A number beside its name, as in `oom_kill 3`; 0 where it is not. */
export function countIn(folder: string, file: string, name: string): number {
  const line = textIn(folder, file)
    .split('\n')
    .find((one) => one.startsWith(`${name} `))
  return Number(line?.slice(name.length + 1) ?? 0)
}

export function processesIn(folder: string): readonly number[] {
  try {
    return textIn(folder, 'cgroup.procs').split('\n').filter(Boolean).map(Number)
  } catch {
    return []
  }
}

export function removeFolder(folder: string): boolean {
  try {
    rmdirSync(folder)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT'
  }
}
