import { readlinkSync } from 'node:fs'
import { processFacts } from '../os/proc.ts'

/** A process, and the file that it has begun to run. */
export interface Beginning {
  readonly pid: number
  readonly file: string
}

/** Tells which programs of a wall began from one look to the next. What is over before a look is never told. */
export class Begun {
  /** What the wall's own program runs: its copies run the same, and have executed nothing. */
  readonly #ownFile: string
  /** What each process was seen to run; a child runs what its parent does until it executes something else. */
  #runs = new Map<number, { readonly startTime: number; readonly file: string }>()

  constructor(own: number, pids: readonly number[]) {
    this.#ownFile = fileOf(own)
    this.since(pids)
  }

  since(pids: readonly number[]): readonly Beginning[] {
    const before = this.#runs
    this.#runs = new Map()
    return pids.flatMap((pid) => {
      const facts = processFacts(pid)
      if (!facts) return []
      const { startTime, parent } = facts
      const file = fileOf(pid)
      this.#runs.set(pid, { startTime, file })
      const known = before.get(pid)
      const was = known?.startTime === startTime ? known.file : before.get(parent)?.file
      return file === this.#ownFile || file === was ? [] : [{ pid, file }]
    })
  }
}

/** The file that it runs, by the kernel's own word; nothing of one that is gone. */
function fileOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/exe`)
  } catch {
    return ''
  }
}
