import { classesToClose, type CallClass } from '../contract/calls.ts'
import { canonicalControls, controlsBeyond, type Controls } from '../contract/controls.ts'
import type { Schedule } from '../contract/phase.ts'

/** What a wall lets its program ask the kernel for at all, and what of it a class of calls takes away. */
export interface WallCalls {
  /** Names of system calls, each with the restrictions that always hold. */
  readonly allowed: Readonly<Record<string, readonly string[]>>
  readonly watched: readonly WatchedCall[]
  /** Classes that can be closed while a program runs: none without a sentinel, and in an isolate. */
  readonly closable: readonly CallClass[]
}

/** `leaves` what the call can still do where its class is closed; left out, nothing. */
export interface WatchedCall {
  readonly call: string
  readonly class: CallClass
  readonly leaves?: string
}

/** What can be reached in one phase of a life. */
export interface Surface {
  readonly phase: string
  /** Milliseconds from the release of user code, where no anomaly and no condition comes first. */
  readonly from: number
  readonly to: number
  readonly network: Controls['network']
  readonly files: Controls['files']
  readonly capabilities: Controls['capabilities']
  readonly limits: Pick<Controls, 'cpu' | 'memory' | 'io' | 'processes'>
  readonly calls: {
    /** How many have any use left, and how many of them only some. */
    readonly reachable: number
    readonly restricted: number
    readonly closed: readonly CallClass[]
    /** Classes that this phase takes away and that this wall can't: it ends the life there, and does not pretend. */
    readonly unheld: readonly CallClass[]
    /** By name, what restricts each. */
    readonly of: Readonly<Record<string, readonly string[]>>
  }
}

/** The whole of a schedule, phase by phase. */
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

/** What of `next` was not in `before`; empty where the surface only shrank. */
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
