import type { GuestProcess } from './decode.ts'
import { type GuestInspector, forEachConcurrently } from './guest-inspector.ts'

/** A process, as reported by the guest (untrusted). Strings hold any character but NUL. */
export interface ViewedProcess extends Pick<GuestProcess, 'pid' | 'parent' | 'name' | 'rssKiB'> {
  readonly cpuMs: number
  uid?: number
  command?: readonly string[]
  /** Target of /proc/PID/exe. */
  executable?: string
  /** Target of /proc/PID/cwd. */
  folder?: string
  descriptors?: readonly ViewedDescriptor[]
}

export interface ViewedDescriptor {
  readonly number: number
  /** Path, or `socket:[12]` and the like. */
  readonly target: string
}

export interface ViewedProcesses {
  /** False if a limit omitted an entry. */
  readonly isWhole: boolean
  /** Number of processes, including those that are not listed. */
  readonly count: number
  readonly processes: readonly ViewedProcess[]
}

const COMMAND_BYTES_MAX = 1_024
const TARGET_BYTES_MAX = 512
/** Limits of listed descriptors: per process, and of all processes. */
const DESCRIPTORS_MAX = 64
const ALL_DESCRIPTORS_MAX = 2_048
const US_PER_MS = 1_000

/** Processes with their parents, commands and open descriptors. Rejects if the guest sends no list. */
export async function viewProcesses(inspector: GuestInspector): Promise<ViewedProcesses> {
  const { count, processes: listed } = await inspector.status()
  const processes: ViewedProcess[] = listed.map(({ pid, parent, name, cpuUs, rssKiB }) => {
    return { pid, parent, name, rssKiB, cpuMs: Math.round(cpuUs / US_PER_MS) }
  })
  let descriptorsLeft = ALL_DESCRIPTORS_MAX
  let hasAll = count === listed.length
  const describe = async (process: ViewedProcess) => {
    await addCommand(inspector, process)
    const countMax = Math.min(descriptorsLeft, DESCRIPTORS_MAX)
    descriptorsLeft -= countMax
    const open = await descriptorsOf(inspector, process.pid, countMax)
    if (!open) return
    process.descriptors = open.descriptors
    descriptorsLeft += countMax - open.descriptors.length
    hasAll &&= !open.isCut
  }
  const isWhole = await forEachConcurrently(processes, describe)
  return { isWhole: isWhole && hasAll, count, processes }
}

/** Race: a process that exited after the list has no command. */
async function addCommand(inspector: GuestInspector, process: ViewedProcess): Promise<void> {
  const at = `${process.pid}`
  const command = await inspector.file('proc', `${at}/cmdline`, COMMAND_BYTES_MAX)
  if (!command) return
  process.uid = command.uid
  process.command = command.bytes.toString().replace(/\0$/, '').split('\0')
  const executable = await inspector.link('proc', `${at}/exe`, TARGET_BYTES_MAX)
  if (executable) process.executable = executable.toString()
  const folder = await inspector.link('proc', `${at}/cwd`, TARGET_BYTES_MAX)
  if (folder) process.folder = folder.toString()
}

async function descriptorsOf(inspector: GuestInspector, pid: number, countMax: number) {
  const entries = await inspector.list('proc', `${pid}/fd`, countMax + 1)
  if (!entries) return undefined
  const descriptors: ViewedDescriptor[] = []
  for (const { name } of entries.slice(0, countMax)) {
    if (!/^\d{1,10}$/.test(name)) continue
    const target = await inspector.link('proc', `${pid}/fd/${name}`, TARGET_BYTES_MAX)
    if (target) descriptors.push({ number: Number(name), target: target.toString() })
  }
  return { descriptors, isCut: entries.length > countMax }
}
