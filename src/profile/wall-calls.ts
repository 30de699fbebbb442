import { readFileSync } from 'node:fs'
import { callClasses, type CallClass } from '../contract/calls.ts'
import type { WallCalls, WatchedCall } from './surface.ts'
import { parseJson } from '../lib/parse-json.ts'

interface Policy {
  readonly allow: readonly { readonly call: string; readonly where?: readonly unknown[] }[]
}

interface Watched {
  readonly watched: readonly {
    readonly call: string
    readonly class: CallClass
    readonly unless?: unknown
    readonly writes?: unknown
  }[]
}

/** What a class leaves of calls that it does not take whole; guest/sentinel/README.md says how each is judged. */
const leaves: Readonly<Partial<Record<CallClass, Readonly<Record<string, string>>>>> = {
  network: {
    socket: "between the wall's own processes (AF_UNIX)",
    connect: "to sockets between the wall's own processes",
  },
  write: { bind: 'to no name among the files' },
}
const someArguments = 'with some arguments only'
const opens = ['open', 'openat', 'openat2'] as const
const forks = ['fork', 'vfork', 'clone', 'clone3'] as const

/**
 * What a wall of a tier lets its program ask the kernel for, as its filters have it: `policies/seccomp` and
 * `policies/sentinel.json`. Of an isolate it is what its whole worker may ask, which is more than any guest can.
 */
export function wallCalls(tier: 'isolate' | 'process', hasSentinel: boolean): WallCalls {
  const { allow } = policy(tier === 'process' ? 'seccomp/process' : 'seccomp/narrow') as Policy
  const whole = new Set(allow.filter(({ where }) => !where).map(({ call }) => call))
  const allowed = Object.fromEntries(
    allow.map(({ call }) => [call, whole.has(call) ? [] : [someArguments]]),
  )
  if (tier === 'isolate' || !hasSentinel) return { allowed, watched: [], closable: [] }
  return { allowed, watched: watchedCalls(), closable: callClasses }
}

function watchedCalls(): readonly WatchedCall[] {
  const { watched } = policy('sentinel') as Watched
  return [
    ...watched.map(({ call, class: name }) => {
      const left = name === 'outside' ? 'files of the scratch folders' : leaves[name]?.[call]
      return { call, class: name, ...(left !== undefined && { leaves: left }) }
    }),
    ...opens.map((call) => ({ call, class: 'write' as const, leaves: 'for reading' })),
    // Held by the kernel's own bound on how many there may be.
    ...forks.map((call) => ({ call, class: 'process' as const })),
  ]
}

function policy(name: string): unknown {
  const file = new URL(`../../policies/${name}.json`, import.meta.url)
  return parseJson(readFileSync(file, 'utf8'))
}
