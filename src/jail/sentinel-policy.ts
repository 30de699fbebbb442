import { constants } from 'node:os'
import { readFileSync } from 'node:fs'
import { callClasses, type CallClass } from '../contract/calls.ts'
import { callNumber, compileSeccomp, type SeccompRule } from '../os/seccomp.ts'
import { parseJson } from '../lib/parse-json.ts'

/** System calls of which a wall's sentinel is notified, and the class of each: `policies/sentinel.json`. */
type Errno = keyof typeof constants.errno

interface SentinelPolicy {
  readonly classes: Readonly<Record<CallClass, { readonly errno: Errno; readonly why: string }>>
  /** Calls that are notified in every wall, independent of its phases. */
  readonly always: readonly { readonly call: string; readonly why: string }[]
  /** Calls that are notified in a wall with a keeper; see `KeeperDuties`. */
  readonly kept: readonly KeptCall[]
  readonly unscoped: readonly KeptCall[]
  readonly shared: readonly KeptCall[]
  readonly watched: readonly {
    readonly call: string
    readonly class: CallClass
    readonly why: string
    /** Not notified for these arguments. */
    readonly unless?: NonNullable<SeccompRule['where']>
    /** For an open: the argument and mask of its flags for writing, if the flags are in a register. */
    readonly writes?: { readonly arg: number; readonly mask: number } | 'unknown'
  }[]
}

type KeptCall = { readonly call: string; readonly class: CallClass; readonly why: string }

/** Duties of the keeper of a wall without namespaces, in addition to forks and sockets. */
export interface KeeperDuties {
  /** Sets modes and times, because the wall's user has other files. */
  readonly isShared: boolean
  /** Sends signals, because this Landlock ABI does not restrict them. */
  readonly isUnscoped: boolean
}

type Watched = SentinelPolicy['watched'][number]

let read: SentinelPolicy | undefined

export function sentinelPolicy(): SentinelPolicy {
  const file = new URL('../../policies/sentinel.json', import.meta.url)
  read ??= parseJson(readFileSync(file, 'utf8')) as SentinelPolicy
  return read
}

/**
 * Path parts of files that hold secrets. Opens of them are reported on a budget of their own, and each report is an
 * anomaly that the life reacts to, so a flood of other opens cannot hide one. Paths that honest programs open too are
 * omitted.
 */
export function secretPaths(): readonly string[] {
  const file = new URL('../../policies/credential-paths.json', import.meta.url)
  secrets ??= parseJson(readFileSync(file, 'utf8')) as CredentialPaths
  return secrets.paths.flatMap(({ part, under, severity }) =>
    under === undefined && severity !== 'low' ? [part] : [],
  )
}

interface CredentialPaths {
  readonly paths: readonly {
    readonly part: string
    readonly under?: string
    readonly severity: string
  }[]
}

let secrets: CredentialPaths | undefined

/** Errno of a call of each closed class, in the order of `callClasses`. */
export function errnosOfClasses(): readonly number[] {
  const { classes } = sentinelPolicy()
  return callClasses.map((name) => constants.errno[classes[name].errno])
}

/** Errno name of each closed class, if only the classes in `open` are open. */
export function answersOf(open: readonly CallClass[]): Readonly<Record<string, string>> {
  const { classes } = sentinelPolicy()
  const closed = callClasses.filter((name) => !open.includes(name))
  return Object.fromEntries(closed.map((name) => [name, classes[name].errno]))
}

/**
 * The seccomp-notify filter: notifies the sentinel of calls of these classes and allows all others, on which the fixed
 * filter decides.
 */
export function askingFilter(classes: readonly CallClass[], duties?: KeeperDuties): Buffer {
  const kept = duties ? keptCalls(duties) : []
  const always = duties ? kept : sentinelPolicy().always
  const asked = sentinelPolicy()
    .watched.filter(({ call }) => !kept.some((one) => one.call === call))
    .flatMap((one) => askedOf(one, classes))
  return compileSeccomp({
    name: 'sentinel',
    otherwise: 'allow',
    allow: asked.flatMap(({ call, why, unless }) => (unless ? [{ call, why, where: unless }] : [])),
    answer: [...always, ...asked].map(({ call, why }) => ({
      call,
      why,
      with: 'notify' as const,
    })),
  })
}

function keptCalls({ isShared, isUnscoped }: KeeperDuties): readonly KeptCall[] {
  const { kept, unscoped, shared } = sentinelPolicy()
  return [...kept, ...(isUnscoped ? unscoped : []), ...(isShared ? shared : [])]
}

/** If only writing can be closed, opens for reading are not notified. */
function askedOf(one: Watched, classes: readonly CallClass[]): readonly Watched[] {
  if (classes.includes(one.class)) return [one]
  if (!one.writes || !classes.includes('write')) return []
  if (one.writes === 'unknown') return [one]
  return [{ ...one, unless: [{ ...one.writes, equals: 0 }] }]
}

/** Cache of filters by the set of notified classes; bounded by the number of sets. */
const askingFilters = new Map<string, Buffer>()

/** Both filters as `sentinel enter` reads them inside the wall: each after its length (u32, little endian). */
export function filtersFor(
  fixed: Uint8Array,
  classes: readonly CallClass[] = callClasses,
  duties?: KeeperDuties,
): Buffer {
  const names = callClasses.filter((name) => classes.includes(name))
  const key = `${names.join()} ${JSON.stringify(duties ?? {})}`
  const asking = askingFilters.get(key) ?? askingFilter(classes, duties)
  askingFilters.set(key, asking)
  const both = [asking, Buffer.from(fixed)]
  return Buffer.concat(both.flatMap((one) => [lengthOf(one), one]))
}

/** The watched calls as arguments of the sentinel: the number of each on this architecture, with its class. */
export function watchedCalls(duties?: KeeperDuties): readonly string[] {
  watched ??= wordsOf(sentinelPolicy().watched)
  return duties ? [...watched, ...wordsOf(keptCalls(duties))] : watched
}

let watched: readonly string[] | undefined

function wordsOf(calls: readonly Pick<KeptCall, 'call' | 'class'>[]): readonly string[] {
  return calls.flatMap(({ call, class: name }) => {
    const number = callNumber(call)
    return number === null ? [] : [`call=${number}:${callClasses.indexOf(name)}`]
  })
}

/** Name of a call by its number. */
export function nameOfCall(number: number): string {
  const { watched: all, kept, unscoped } = sentinelPolicy()
  const found = [...all, ...kept, ...unscoped].find(({ call }) => callNumber(call) === number)
  return found?.call ?? 'other'
}

function lengthOf(bytes: Uint8Array): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32LE(bytes.length, 0)
  return length
}
