import { constants } from 'node:os'
import { readFileSync } from 'node:fs'
import { callClasses, type CallClass } from '../contract/calls.ts'
import { callNumber, compileSeccomp, type SeccompRule } from '../os/seccomp.ts'

/** Which calls of a wall its sentinel is asked about, and in which class each falls: `policies/sentinel.json`. */
type Errno = keyof typeof constants.errno

interface SentinelPolicy {
  readonly classes: Readonly<Record<CallClass, { readonly errno: Errno; readonly why: string }>>
  readonly watched: readonly {
    readonly call: string
    readonly class: CallClass
    readonly why: string
    /** Not asked about where the arguments are these. */
    readonly unless?: NonNullable<SeccompRule['where']>
  }[]
}

let read: SentinelPolicy | undefined

export function sentinelPolicy(): SentinelPolicy {
  const file = new URL('../../policies/sentinel.json', import.meta.url)
  read ??= JSON.parse(readFileSync(file, 'utf8')) as SentinelPolicy
  return read
}

/** What a call of a closed class gets, in the order of `callClasses`. */
export function errnosOfClasses(): readonly number[] {
  const { classes } = sentinelPolicy()
  return callClasses.map((name) => constants.errno[classes[name].errno])
}

/** The filter that only asks: what it does not ask about, the other one decides alone. */
export function askingFilter(): Buffer {
  const { watched } = sentinelPolicy()
  return compileSeccomp({
    name: 'sentinel',
    otherwise: 'allow',
    allow: watched.flatMap(({ call, why, unless }) =>
      unless ? [{ call, why, where: unless }] : [],
    ),
    answer: watched.map(({ call, why }) => ({ call, why, with: 'notify' as const })),
  })
}

/** Both filters as the sentinel's own first half reads them inside: each after its length. */
export function filtersFor(fixed: Uint8Array): Buffer {
  return Buffer.concat([askingFilter(), Buffer.from(fixed)].flatMap((one) => [lengthOf(one), one]))
}

/** How the sentinel is told the same: numbers of this architecture, each with its class. */
export function watchedCalls(): readonly string[] {
  return sentinelPolicy().watched.flatMap(({ call, class: name }) => {
    const number = callNumber(call)
    return number === null ? [] : [`call=${number}:${callClasses.indexOf(name)}`]
  })
}

/** The name of a call by its number. */
export function nameOfCall(number: number): string {
  return sentinelPolicy().watched.find(({ call }) => callNumber(call) === number)?.call ?? 'other'
}

function lengthOf(bytes: Uint8Array): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32LE(bytes.length, 0)
  return length
}
