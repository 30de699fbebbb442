import { posix } from 'node:path'
import type { Observation } from '../../contract/anomaly.ts'
import type { Detector } from './detector.ts'

interface Written {
  readonly paths: ReadonlyMap<string, Write>
  /** More were written than are remembered: then all that lies where a guest may write counts. */
  readonly isFull: boolean
  /** Bytes came in from outside before something was written. */
  readonly hasReceived: boolean
  /** Processes that became a program since it began; the first is the guest's own, where it is a script. */
  readonly became: readonly number[]
}

interface Write {
  readonly observation: Observation
  /** By a program that it had started, such as a linker, and not by itself. */
  readonly byTool: boolean
}

const pathsMax = 256
const writable = /^\/(work|tmp|var\/tmp|dev\/shm|home|root)\//

/**
 * A program that runs what it wrote itself. A compiler's work is just that, so where another program wrote it, or the
 * code shows that it starts programs, it is a line; what came over the network first, or code that wrote it with its
 * own hands, is more. A file that came with the job and was changed since may have a new mode and nothing else.
 */
export const execOfWritten: Detector<Written> = {
  name: 'exec-of-written',
  first: { paths: new Map(), isFull: false, hasReceived: false, became: [] },
  see(state, observation, { foreseen }) {
    const { seen } = observation
    if (seen.kind === 'connect' && seen.received > 0)
      return { state: state.hasReceived ? state : { ...state, hasReceived: true } }
    if (seen.kind === 'open' && seen.access === 'write' && !seen.denied)
      return { state: remembered(state, placeOf(seen.path), observation, seen.pid) }
    if (seen.kind !== 'exec') return { state }
    const write = state.paths.get(placeOf(seen.path))
    const next = seen.denied ? state : started(state, seen.pid)
    // Under another name, or told of too late: its wall looks at the file itself.
    const isOwn = seen.written === true
    const isUntold = isMissing(state, seen) && writable.test(seen.path)
    const isBrought = foreseen.ownFiles.includes(seen.path)
    if (!write && !isOwn && (isBrought || !isUntold)) return { state: next }
    const isChanged = !write && isBrought
    const byTool = write ? write.byTool : hasTools(state)
    const shown = byTool || isChanged || (foreseen.access?.includes('process') ?? false)
    const severity = state.hasReceived ? (shown ? 'medium' : 'high') : shown ? 'low' : 'medium'
    const came = state.hasReceived ? ', after bytes came in from outside' : ''
    const how = byTool ? 'which a program of its own wrote' : 'which it wrote itself'
    const what = isChanged ? 'which came with it and was changed since' : how
    const reason = `It runs "${seen.path}", ${what}${came}`
    const evidence = [...(write ? [write.observation] : []), observation]
    return { state: next, found: { severity, subject: seen.path, reason, evidence } }
  },
}

function started(state: Written, pid: number | undefined): Written {
  if (pid === undefined || state.became.includes(pid) || state.became.length >= pathsMax)
    return state
  return { ...state, became: [...state.became, pid] }
}

/** Whether something may have been written that nobody told. */
function isMissing(
  { isFull }: Written,
  { leftOut = 0 }: { readonly leftOut?: number | undefined },
): boolean {
  return isFull || leftOut > 0
}

/** Whether programs that it had started wrote anything: then who wrote what is known by no name may be one of them. */
function hasTools({ paths }: Written): boolean {
  return [...paths.values()].some(({ byTool }) => byTool)
}

/** Told as the program wrote it: from where it stands, which is its home unless it went elsewhere. */
function placeOf(path: string): string {
  return posix.resolve('/work', path)
}

/** Who wrote it last counts, and its own hand more than a tool's. */
function remembered(
  state: Written,
  path: string,
  observation: Observation,
  pid: number | undefined,
): Written {
  const byTool = pid !== undefined && state.became.indexOf(pid) > 0
  const known = state.paths.get(path)
  if (known && (!known.byTool || byTool)) return state
  if (!known && state.paths.size >= pathsMax)
    return state.isFull ? state : { ...state, isFull: true }
  return { ...state, paths: new Map([...state.paths, [path, { observation, byTool }]]) }
}
