import { classesToClose, type CallClass } from '../contract/calls.ts'
import { canonicalControls, controlsBeyond, type Controls } from '../contract/controls.ts'
import type { Schedule } from '../contract/phase.ts'

/** System calls a wall permits, and the effect of closing a class. */
export interface WallCalls {
  /** Names of system calls with their permanent restrictions. */
  readonly allowed: Readonly<Record<string, readonly string[]>>
  readonly watched: readonly WatchedCall[]
  /** Classes closable at run time: none without a sentinel or in an isolate. */
  readonly closable: readonly CallClass[]
}

/** `leaves`: remaining use of the call when the class is closed; undefined if none. */
export interface WatchedCall {
  readonly call: string
  readonly class: CallClass
  readonly leaves?: string
}

/** Attack surface of one phase. */
export interface Surface {
  readonly phase: string
  /** Milliseconds since the release of user code, without anomalies and conditions. */
  readonly from: number
  readonly to: number
  readonly network: Controls['network']
  readonly files: Controls['files']
  readonly capabilities: Controls['capabilities']
  readonly limits: Pick<Controls, 'cpu' | 'memory' | 'io' | 'processes'>
  readonly calls: {
    /** Number of calls with any use left, and of the restricted ones among them. */
    readonly reachable: number
    readonly restricted: number
    readonly closed: readonly CallClass[]
    /** Classes that the phase closes but the wall cannot: the life ends there. */
    readonly unheld: readonly CallClass[]
    /** Restrictions by call. */
    readonly of: Readonly<Record<string, readonly string[]>>
  }
}

/** Surface of a schedule, phase by phase. */
export function surfaceOf(
  granted: Controls,
  { phases }: Pick<Schedule, 'phases'>,
  calls: WallCalls,
): readonly Surface[] {
  let from = 0
  return phases.map(({ name: phase, for: length, controls }) => {
    const gone = classesToClose(granted, controls)
    const closed = calls.closable.filter((one) => gone.includes(one))
    const of = callsLeft(calls, closed)
    const { network, files, capabilities, ...rest } = canonicalControls(controls)
    const { cpu, memory, io, processes } = rest
    const to = from + length
    const surface: Surface = {
      phase,
      from,
      to,
      network,
      files,
      capabilities,
      limits: { cpu, memory, io, processes },
      calls: {
        reachable: Object.keys(of).length,
        restricted: Object.values(of).filter((words) => words.length > 0).length,
        closed,
        unheld: gone.filter((one) => !closed.includes(one)),
        of,
      },
    }
    from = to
    return surface
  })
}

/** Items of `next` that `before` lacks; empty if the surface only shrank. */
export function surfaceBeyond(next: Surface, before: Surface): readonly string[] {
  const controls = controlsBeyond(controlsIn(next), controlsIn(before))
  const calls = Object.entries(next.calls.of)
    .filter(([name, words]) => {
      const were = before.calls.of[name]
      return !were || were.some((word) => !words.includes(word))
    })
    .map(([name]) => `system call ${name}`)
  return [...controls, ...calls]
}

function controlsIn({ network, files, capabilities, limits }: Surface): Controls {
  return { network, files, capabilities, ...limits, syscalls: 'any' }
}

function callsLeft(
  { allowed, watched }: WallCalls,
  closed: readonly CallClass[],
): Surface['calls']['of'] {
  const taken = watched.filter((one) => closed.includes(one.class))
  return Object.fromEntries(
    Object.entries(allowed).flatMap(([name, always]) => {
      const its = taken.filter(({ call }) => call === name)
      if (its.some(({ leaves }) => leaves === undefined)) return []
      return [[name, [...always, ...its.map(({ leaves }) => leaves!)]]]
    }),
  )
}
