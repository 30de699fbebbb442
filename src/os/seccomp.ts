import { readFileSync } from 'node:fs'
import syscalls from '../../policies/syscalls.json' with { type: 'json' }
import { parseJson } from '../lib/parse-json.ts'

/**
 * Compiles a policy (data, with a reason on each line) into a seccomp filter. Always an allow list: unlisted calls get
 * `otherwise`. Classic BPF, as in seccomp(2): the architecture is checked first, and numbers of the x32 table are
 * refused, because they would bypass a list of x86-64 numbers.
 */
export interface SeccompPolicy {
  readonly name: string
  readonly otherwise: SeccompAnswer
  /** Answer for calls newer than the table of numbers, ENOSYS: programs then fall back to an older call. */
  readonly newer?: SeccompAnswer
  /** Exceptions to the allow list, checked first: arguments for which an allowed call is refused. */
  readonly refuse?: readonly (SeccompRule & {
    readonly with: SeccompAnswer
    /** Not refused in a wall with this property. */
    readonly unless?: SeccompNeed
  })[]
  readonly allow: readonly SeccompRule[]
  readonly answer?: readonly {
    readonly call: string
    readonly with: SeccompAnswer
    readonly why: string
  }[]
}

export interface SeccompRule {
  readonly call: string
  readonly why: string
  /** Allowed only in a wall with this property, or one of several. */
  readonly needs?: SeccompNeed | readonly SeccompNeed[]
  /** Conditions `(argument[arg] & mask) == equals` on the low 32 bits; all must hold. */
  readonly where?: readonly {
    readonly arg: number
    readonly mask: number
    readonly equals: number
  }[]
}

/**
 * Property of a wall that a call needs: namespaces of its own, without which the call could affect other processes and
 * files of the user; a sentinel that answers it; a keeper, which is the sentinel of a wall without namespaces; a uid
 * without other processes or files on this machine.
 */
export type SeccompNeed = 'namespaces' | 'sentinel' | 'keeper' | 'own uid'

/**
 * `done` returns 0 without making the call; `notify` notifies the listener (seccomp notify); `allow` as the default is
 * for a filter that only notifies, loaded in addition to one that decides.
 */
const ANSWERS = {
  kill: 0x8000_0000,
  EPERM: 0x0005_0001,
  EBADF: 0x0005_0009,
  ENOMEM: 0x0005_000c,
  EACCES: 0x0005_000d,
  EEXIST: 0x0005_0011,
  EINVAL: 0x0005_0016,
  ENOTTY: 0x0005_0019,
  ENOSYS: 0x0005_0026,
  ENOTSUP: 0x0005_005f,
  EAFNOSUPPORT: 0x0005_0061,
  done: 0x0005_0000,
  notify: 0x7fc0_0000,
  allow: 0x7fff_0000,
} as const
export type SeccompAnswer = keyof typeof ANSWERS
const ARCHITECTURES: Partial<Record<NodeJS.Architecture, { column: 0 | 1; audit: number }>> = {
  x64: { column: 0, audit: 0xc000_003e },
  arm64: { column: 1, audit: 0xc000_00b7 },
}

const LOAD = 0x20
const AND = 0x54
const JUMP_EQUAL = 0x15
const JUMP_AT_LEAST = 0x35
const RETURN = 0x06
const OFFSET_NUMBER = 0
const OFFSET_ARCHITECTURE = 4
const X32_BIT = 0x4000_0000

type Instruction = readonly [code: number, ifTrue: number, ifFalse: number, k: number]

/** Reads a policy by its name in `policies/seccomp/`. */
export function readSeccompPolicy(name: string): SeccompPolicy {
  const file = new URL(`../../policies/seccomp/${name}.json`, import.meta.url)
  return parseJson(readFileSync(file, 'utf8')) as SeccompPolicy
}

/** The policy of a wall with these properties only. */
export function policyWith(policy: SeccompPolicy, has: readonly SeccompNeed[]): SeccompPolicy {
  const isHeld = ({ needs }: SeccompRule) =>
    needs === undefined || [needs].flat().some((need) => has.includes(need))
  return {
    ...policy,
    refuse: (policy.refuse ?? []).filter(({ unless }) => !unless || !has.includes(unless)),
    allow: policy.allow.filter(isHeld),
  }
}

/** Compiled filter, eight bytes an instruction. Throws RangeError for an unknown call or architecture. */
export function compileSeccomp(
  policy: SeccompPolicy,
  arch: NodeJS.Architecture = process.arch,
): Buffer {
  const machine = ARCHITECTURES[arch]
  if (!machine) throw new RangeError(`Cannot make a seccomp filter for architecture "${arch}"`)
  const number = (call: string) => numberOf(call, machine.column)
  const program: Instruction[] = [
    [LOAD, 0, 0, OFFSET_ARCHITECTURE],
    [JUMP_EQUAL, 1, 0, machine.audit],
    [RETURN, 0, 0, ANSWERS.kill],
    [LOAD, 0, 0, OFFSET_NUMBER],
    [JUMP_AT_LEAST, 0, 1, X32_BIT],
    [RETURN, 0, 0, ANSWERS.kill],
    ...(policy.refuse ?? []).flatMap((rule) => ruling(rule, number(rule.call), ANSWERS[rule.with])),
    ...policy.allow.flatMap((rule) => ruling(rule, number(rule.call), ANSWERS.allow)),
    ...(policy.answer ?? []).flatMap((rule) => answering(number(rule.call), ANSWERS[rule.with])),
    ...(policy.newer ? newer(machine.column, ANSWERS[policy.newer]) : []),
    [RETURN, 0, 0, ANSWERS[policy.otherwise]],
  ]
  return assemble(program)
}

/** Number of a call on this architecture; null if it has none. Throws RangeError for an unknown name. */
export function callNumber(call: string): number | null {
  const machine = ARCHITECTURES[process.arch]
  return machine ? numberOf(call, machine.column) : null
}

function numberOf(call: string, column: 0 | 1): number | null {
  const row = (syscalls.numbers as Record<string, (number | null)[]>)[call]
  if (!row) throw new RangeError(`Cannot find the system call "${call}"`)
  return row[column] ?? null
}

/** Instructions of a rule; none for a call that this architecture lacks. */
function ruling(rule: SeccompRule, number: number | null, answer: number): Instruction[] {
  if (number === null) return []
  if (!rule.where) return answering(number, answer)
  const tests = rule.where.flatMap((test, index, all): Instruction[] => [
    [LOAD, 0, 0, 16 + 8 * test.arg],
    [AND, 0, 0, test.mask],
    // Jumps over the remaining tests and the return, to the instruction that reloads the call number.
    [JUMP_EQUAL, 0, 3 * (all.length - index - 1) + 1, test.equals],
  ])
  return [
    [JUMP_EQUAL, 0, tests.length + 2, number],
    ...tests,
    [RETURN, 0, 0, answer],
    [LOAD, 0, 0, OFFSET_NUMBER],
  ]
}

function answering(number: number | null, answer: number): Instruction[] {
  if (number === null) return []
  return [
    [JUMP_EQUAL, 0, 1, number],
    [RETURN, 0, 0, answer],
  ]
}

function newer(column: 0 | 1, answer: number): Instruction[] {
  const known = Object.values(syscalls.numbers as unknown as Record<string, (number | null)[]>)
  const last = Math.max(...known.map((row) => row[column] ?? 0))
  return [
    [JUMP_AT_LEAST, 0, 1, last + 1],
    [RETURN, 0, 0, answer],
  ]
}

function assemble(program: readonly Instruction[]): Buffer {
  const bytes = Buffer.alloc(program.length * 8)
  program.forEach(([code, ifTrue, ifFalse, k], index) => {
    bytes.writeUInt16LE(code, index * 8)
    bytes.writeUInt8(ifTrue, index * 8 + 2)
    bytes.writeUInt8(ifFalse, index * 8 + 3)
    bytes.writeUInt32LE(k >>> 0, index * 8 + 4)
  })
  return bytes
}
