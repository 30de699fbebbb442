import { executableOf, processFacts } from '../../../os/proc.ts'

/** A process, and the file that it executed. */
export interface ExecutedFile {
  readonly pid: number
  readonly file: string
}

/** Finds programs that were executed between two scans. A program that ended before a scan is missed. */
export class ExecScan {
  /** Executable of the wall's own program: forks of it run the same file without an exec. */
  readonly #ownFile: string
  /** Executable of each process at the last scan; a child runs that of its parent until it calls exec. */
  #runs = new Map<number, { readonly startTime: number; readonly file: string }>()

  constructor(own: number, pids: readonly number[]) {
    this.#ownFile = executableOf(own) ?? ''
    this.since(pids)
  }

  since(pids: readonly number[]): readonly ExecutedFile[] {
    const before = this.#runs
    this.#runs = new Map()
    return pids.flatMap((pid) => {
      const facts = processFacts(pid)
      if (!facts) return []
      const { startTime, parent } = facts
      const file = executableOf(pid) ?? ''
      this.#runs.set(pid, { startTime, file })
      const known = before.get(pid)
      const was = known?.startTime === startTime ? known.file : before.get(parent)?.file
      return file === this.#ownFile || file === was ? [] : [{ pid, file }]
    })
  }
}
