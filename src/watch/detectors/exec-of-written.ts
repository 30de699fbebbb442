import { posix } from 'node:path'
import type { Observation } from '../../contract/anomaly.ts'
import type { Detector } from './detector.ts'

interface WrittenFiles {
  readonly paths: ReadonlyMap<string, Write>
  /** True if the list of written files overflowed: any path in a writable folder then counts as written. */
  readonly isFull: boolean
  /** True if network input arrived before the write. */
  readonly hasReceived: boolean
  /** Pids that called exec, in order; the first is the guest itself, if it is a script. */
  readonly execPids: readonly number[]
}

interface Write {
  readonly observation: Observation
  /** True if written by a tool that the guest executed, such as a linker. */
  readonly byTool: boolean
}

const pathsMax = 256
const writable = /^\/(work|tmp|var\/tmp|dev\/shm|home|root)\//

/**
 * Executes a file written during the run. Compilers do so too: `low` if another program wrote the file or the code
 * visibly starts programs; higher after network input or if the guest wrote it itself. Of a file that the job sent, perhaps
 * only the mode was changed.
 */
export const execOfWritten: Detector<WrittenFiles> = {
  name: 'exec-of-written',
  first: { paths: new Map(), isFull: false, hasReceived: false, execPids: [] },
  see(state, observation, { foreseen }) {
    const { seen } = observation
    if (seen.kind === 'connect' && seen.received > 0)
      return { state: state.hasReceived ? state : { ...state, hasReceived: true } }
    if (seen.kind === 'open' && seen.access === 'write' && !seen.denied)
      return { state: withWrite(state, absolutePath(seen.path), observation, seen.pid) }
    if (seen.kind !== 'exec') return { state }
    const write = state.paths.get(absolutePath(seen.path))
    const next = seen.denied ? state : withExecPid(state, seen.pid)
    // True for renamed files and late reports: the wall inspects the file itself.
    const isOwn = seen.written === true
    const mayBeUnreported = isMissing(state, seen) && writable.test(seen.path)
    const isBrought = foreseen.ownFiles.includes(seen.path)
    if (!write && !isOwn && (isBrought || !mayBeUnreported)) return { state: next }
    const isChanged = !write && isBrought
    const byTool = write ? write.byTool : hasTools(state)
    const shown = byTool || isChanged || (foreseen.access?.includes('process') ?? false)
    const severity = state.hasReceived ? (shown ? 'medium' : 'high') : shown ? 'low' : 'medium'
    const came = state.hasReceived ? ', after it received data from the network' : ''
    const how = byTool ? 'written by another program of the job' : 'which it wrote itself'
    const what = isChanged ? 'a file of the job that was changed since the release' : how
    const reason = `It executed "${seen.path}", ${what}${came}`
    const evidence = [...(write ? [write.observation] : []), observation]
    return { state: next, found: { severity, subject: seen.path, reason, evidence } }
  },
}

function withExecPid(state: WrittenFiles, pid: number | undefined): WrittenFiles {
  if (pid === undefined || state.execPids.includes(pid) || state.execPids.length >= pathsMax)
    return state
  return { ...state, execPids: [...state.execPids, pid] }
}

/** True if writes may have gone unreported. */
function isMissing(
  { isFull }: WrittenFiles,
  { leftOut = 0 }: { readonly leftOut?: number | undefined },
): boolean {
  return isFull || leftOut > 0
}

/** True if a tool has written files; an unattributed write may then be a tool's. */
function hasTools({ paths }: WrittenFiles): boolean {
  return [...paths.values()].some(({ byTool }) => byTool)
}

/** Paths are reported as given by the program, relative to its working directory, by default its home. */
function absolutePath(path: string): string {
  return posix.resolve('/work', path)
}

/** Records a write; a write by the guest itself takes precedence over one by a tool. */
function withWrite(
  state: WrittenFiles,
  path: string,
  observation: Observation,
  pid: number | undefined,
): WrittenFiles {
  const byTool = pid !== undefined && state.execPids.indexOf(pid) > 0
  const known = state.paths.get(path)
  if (known && (!known.byTool || byTool)) return state
  if (!known && state.paths.size >= pathsMax)
    return state.isFull ? state : { ...state, isFull: true }
  return { ...state, paths: new Map([...state.paths, [path, { observation, byTool }]]) }
}
