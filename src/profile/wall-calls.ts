import { readFileSync } from 'node:fs'
import { callClasses, type CallClass } from '../contract/calls.ts'
import type { WallCalls, WatchedCall } from './surface.ts'
import { parseJson } from '../lib/parse-json.ts'

interface Policy {
  readonly allow: readonly {
    readonly call: string
    readonly where?: readonly unknown[]
    readonly needs?: string
  }[]
}

interface SentinelPolicy {
  readonly watched: readonly {
    readonly call: string
    readonly class: CallClass
    readonly unless?: unknown
    readonly writes?: unknown
  }[]
}

/** Remaining use of partly closed calls; guest/sentinel/README.md explains the checks. */
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
 * System calls permitted in a tier, from `policies/seccomp` and `policies/sentinel.json`. For isolates it is the list
 * of the whole worker, which is more than any guest can use.
 */
export function wallCalls(tier: 'isolate' | 'process', hasSentinel: boolean): WallCalls {
  const named = policy(tier === 'process' ? 'seccomp/process' : 'seccomp/narrow') as Policy
  const allow = named.allow.filter(({ needs }) => needs !== 'sentinel' || hasSentinel)
  const whole = new Set(allow.filter(({ where }) => !where).map(({ call }) => call))
  const allowed = Object.fromEntries(
    allow.map(({ call }) => [call, whole.has(call) ? [] : [someArguments]]),
  )
  if (tier === 'isolate' || !hasSentinel) return { allowed, watched: [], closable: [] }
  return { allowed, watched: watchedCalls(), closable: callClasses }
}

function watchedCalls(): readonly WatchedCall[] {
  const { watched } = policy('sentinel') as SentinelPolicy
  return [
    ...watched.map(({ call, class: name }) => {
      const left = name === 'outside' ? 'files of the scratch folders' : leaves[name]?.[call]
      return { call, class: name, ...(left !== undefined && { leaves: left }) }
    }),
    ...opens.map((call) => ({ call, class: 'write' as const, leaves: 'for reading' })),
    // Enforced by the kernel's limit on processes.
    ...forks.map((call) => ({ call, class: 'process' as const })),
  ]
}

function policy(name: string): unknown {
  const file = new URL(`../../policies/${name}.json`, import.meta.url)
  return parseJson(readFileSync(file, 'utf8'))
}
