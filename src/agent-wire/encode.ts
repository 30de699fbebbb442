import { encodeFrame } from '../lib/frames.ts'
import {
  agentCalls,
  type AgentCall,
  agentFolders,
  type AgentFolder,
  agentLimits,
  type AgentLimit,
  agentWireVersion,
  chunkBytesMax,
  creditMax,
  descriptorNameBytesMax,
  descriptorsMax,
  hostKinds,
  idBytesMax,
  labelBytesMax,
  labelsMax,
  pathBytesMax,
  policyBytesMax,
  runBytesMax,
  seedBytesMax,
  seedBytesMin,
  seenCreditMax,
  skipMax,
  streamBytesMax,
  wordsMax,
  zoneNameBytesMax,
  zoneNamesMax,
} from './numbers.ts'

/** Messages of a host to the agent of a guest. */
export type HostMessage = HostMessageOf<keyof typeof messages>
export type HostMessageOf<Kind extends keyof typeof messages> = Kind extends unknown
  ? { readonly kind: Kind } & Parameters<(typeof messages)[Kind]>[0]
  : never

/** Limits of a zone of programs; absent ones are those around it, or stay. */
export interface AgentZoneLimits {
  readonly memory?: number
  /** Thousandths of a core. */
  readonly cpu?: number
  readonly processes?: number
}

/** Path in a guest: bytes, or a text that is encoded as UTF-8. */
export type GuestPath = string | Uint8Array

/** Phase commands, a fixed list; each removes a right. */
export type AgentPhase =
  | { readonly do: 'remount-read-only'; readonly path: string }
  | { readonly do: 'lower-limit'; readonly limit: AgentLimit; readonly value: number }
  | { readonly do: 'kill-writers'; readonly path: string }
  | { readonly do: 'close-writing' }
  | { readonly do: 'lower-memory'; readonly bytes: number }
  /** An AppArmor profile with fewer rights than the one before, compiled for the guest's kernel. */
  | {
      readonly do: 'replace-policy'
      readonly closes: readonly AgentCall[]
      readonly policy: Uint8Array
    }

type FieldWriter<Value> = (value: Value) => Buffer
type ValuesOf<Writers> = {
  readonly [Name in keyof Writers]: Writers[Name] extends FieldWriter<infer Value> ? Value : never
}

const UNLIMITED = 2n ** 64n - 1n
const UNLIMITED_32 = 2 ** 32 - 1
const WORD_BYTES_MAX = 2 ** 16 - 1
const STREAMS = { stdin: 1, stdout: 2, stderr: 4 } as const
const nameForm = /^[\w.-]+$/
// oxlint-disable-next-line no-control-regex -- written as lines of a file: a control character could end or hide a line
const control = /[\0-\x1f\x7f]/

const u8 = unsigned(1)
const u16 = unsigned(2)
const u32 = unsigned(4)
const flag = (isOn: boolean) => u8(isOn ? 1 : 0)
const credit = within(0, creditMax, u32, 'a credit')
const skip = within(0, skipMax, u32, 'a number of entries to skip')
const place = (folder: AgentFolder) => u8(agentFolders.indexOf(folder))
const path = (bytes: GuestPath) => text(bytes, 0, pathBytesMax)
const filePath = (bytes: GuestPath) => text(bytes, 1, pathBytesMax)

/** Fields of each kind of message, in the order of the wire. */
const messages = {
  claim: fields({
    id: claimName,
    /** 32 to 256 bytes of this host's generator, for one clone only. */
    seed,
    timeNs: time,
    /** Absent limits stay unchanged. */
    limits: (limits: Readonly<Partial<Record<AgentLimit, number>>>) =>
      Buffer.concat(agentLimits.map((name) => u64(limits[name] ?? UNLIMITED))),
    /** Memory limit of the job's cgroup, in bytes above the usage at the claim. Undefined: unchanged. */
    memory: (bytes: number | undefined) => u64(bytes ?? UNLIMITED),
    hostname: claimName,
    labels,
  }),
  run: fields({
    program: u32,
    /** Streams to forward; others are /dev/null. */
    streams: (names: readonly (keyof typeof STREAMS)[]) =>
      u8(names.reduce((mask, name) => mask | STREAMS[name], 0)),
    uid: u32,
    gid: u32,
    /** Bytes that the program may write before more credit is sent. */
    stdoutCredit: credit,
    stderrCredit: credit,
    file: absolutePath,
    folder: absolutePath,
    args: words(1),
    variables: words(0),
    /** Descriptors of the agent, by their names there. */
    descriptors,
  }),
  input: fields({
    program: u32,
    bytes: rest(1, streamBytesMax, 'the length of an input'),
  }),
  close: fields({ program: u32 }),
  credit: fields({
    program: u32,
    stream: (stream: 'stdout' | 'stderr') => u8(stream === 'stdout' ? 1 : 2),
    bytes: credit,
  }),
  signal: fields({ program: u32, signal: within(1, 31, u8, 'a signal'), toGroup: flag }),
  kill: fields({ nonce: u32 }),
  phase: fields({ nonce: u32, command: phase }),
  list: fields({ nonce: u32, skip, path }),
  status: fields({ nonce: u32 }),
  renew: fields({
    nonce: u32,
    /** 32 to 256 bytes of this host's generator, used once. */
    seed,
    timeNs: time,
  }),
  /** Freezes or thaws the programs of the job. */
  hold: fields({ nonce: u32, on: flag }),
  /** Requests a list of a folder; the empty path is the top folder itself. */
  look: fields({ nonce: u32, place, skip, path }),
  read: fields({
    nonce: u32,
    place,
    offset: (bytes: number) => u64(bytes),
    bytes: within(1, chunkBytesMax, u32, 'a number of bytes'),
    path: filePath,
  }),
  /** Additional credit of observations. */
  watch: fields({ credit: within(1, seenCreditMax, u32, 'a credit of observations') }),
  /** From now on each exec of a program of these names, or absolute paths, starts a zone. `*` matches any text. */
  rule: fields({ nonce: u32, limits: zoneLimits, programs: zoneNames }),
  /** Lowers limits of a zone. */
  bound: fields({ nonce: u32, zone: u32, limits: zoneLimits }),
  /** Kills the processes of a zone. */
  finish: fields({ nonce: u32, zone: u32 }),
} satisfies Readonly<Record<keyof typeof hostKinds, FieldWriter<never>>>

/** Encodes a message as a frame. Throws RangeError for a value outside the bounds of its field. */
export function encodeHostMessage(message: HostMessage): Buffer {
  const write = messages[message.kind] as FieldWriter<HostMessage>
  const payload = Buffer.concat([u8(agentWireVersion), write(message)])
  check(payload.length <= runBytesMax, 'a message that is too long')
  return encodeFrame(hostKinds[message.kind], payload)
}

function claimName(name: string): Buffer {
  check(nameForm.test(name), 'a name of a claim')
  return text(name, 1, idBytesMax)
}

function seed(bytes: Uint8Array): Buffer {
  check(isWithin(bytes.length, seedBytesMin, seedBytesMax), 'the length of a seed')
  return Buffer.concat([u16(bytes.length), bytes])
}

function time(ns: bigint): Buffer {
  check(ns >= 0n && ns < 2n ** 63n, 'a time')
  return u64(ns)
}

function labels(values: Readonly<Record<string, string>>): Buffer {
  const pairs = Object.entries(values)
  check(pairs.length <= labelsMax, 'a number of labels')
  check(!pairs.some(([, value]) => control.test(value)), 'a label')
  const texts = pairs.flatMap(([key, value]) => [claimName(key), text(value, 0, labelBytesMax)])
  return Buffer.concat([u8(pairs.length), ...texts])
}

function zoneLimits({ memory, cpu, processes }: AgentZoneLimits): Buffer {
  return Buffer.concat([
    u64(memory ?? UNLIMITED),
    u32(cpu ?? UNLIMITED_32),
    u32(processes ?? UNLIMITED_32),
  ])
}

function zoneNames(names: readonly string[]): Buffer {
  check(isWithin(names.length, 1, zoneNamesMax), 'a number of programs')
  return Buffer.concat([u8(names.length), ...names.map((name) => text(name, 1, zoneNameBytesMax))])
}

function absolutePath(file: string): Buffer {
  check(file.startsWith('/'), 'a path that is not absolute')
  return filePath(file)
}

function words(least: number): FieldWriter<readonly string[]> {
  return (texts) => {
    check(isWithin(texts.length, least, wordsMax), 'a number of words')
    return Buffer.concat([u16(texts.length), ...texts.map((one) => text(one, 0, WORD_BYTES_MAX))])
  }
}

function descriptors(list: readonly { readonly number: number; readonly name: string }[]): Buffer {
  const numbers = new Set(list.map(({ number }) => number))
  check(numbers.size === list.length && numbers.size <= descriptorsMax, 'descriptors')
  check(
    [...numbers].every((number) => isWithin(number, 3, 63)),
    'a number of a descriptor',
  )
  const each = list.flatMap(({ number, name }) => [
    u8(number),
    text(name, 1, descriptorNameBytesMax),
  ])
  return Buffer.concat([u8(list.length), ...each])
}

function phase(command: AgentPhase): Buffer {
  return Buffer.concat(phaseParts(command))
}

function phaseParts(command: AgentPhase): readonly Buffer[] {
  switch (command.do) {
    case 'remount-read-only':
      return [u8(1), text(command.path, 1, pathBytesMax)]
    case 'lower-limit':
      return [u8(2), u8(agentLimits.indexOf(command.limit)), u64(command.value)]
    case 'kill-writers':
      return [u8(3), text(command.path, 1, pathBytesMax)]
    case 'close-writing':
      return [u8(4)]
    case 'lower-memory':
      return [u8(5), u64(command.bytes)]
    case 'replace-policy':
      check(isWithin(command.policy.length, 1, policyBytesMax), 'the length of a profile')
      return [u8(6), u8(bitsOf(command.closes)), Buffer.from(command.policy)]
  }
}

const bitsOf = (closed: readonly AgentCall[]) =>
  closed.reduce((bits, name) => bits | (1 << agentCalls.indexOf(name)), 0)
const isWithin = (value: number, min: number, max: number) =>
  Number.isInteger(value) && value >= min && value <= max

function check(isGood: boolean, subject: string): void {
  if (!isGood) throw new RangeError(`Cannot encode ${subject} for a guest agent: out of its bounds`)
}

function fields<Writers extends Readonly<Record<string, FieldWriter<never>>>>(writers: Writers) {
  const entries = Object.entries<FieldWriter<never>>(writers)
  return (values: ValuesOf<Writers>) =>
    Buffer.concat(entries.map(([name, write]) => write(values[name] as never)))
}

function within(min: number, max: number, write: FieldWriter<number>, subject: string) {
  return (value: number) => {
    check(isWithin(value, min, max), subject)
    return write(value)
  }
}

/** Writes bytes whose length follows from that of the frame. */
function rest(min: number, max: number, subject: string): FieldWriter<Uint8Array> {
  return (bytes) => {
    check(isWithin(bytes.length, min, max), subject)
    return Buffer.from(bytes)
  }
}

function text(value: GuestPath, min: number, max: number): Buffer {
  const bytes = Buffer.from(value as string)
  check(isWithin(bytes.length, min, max) && !bytes.includes(0), 'a text')
  return Buffer.concat([u16(bytes.length), bytes])
}

function unsigned(length: 1 | 2 | 4): FieldWriter<number> {
  return (value) => {
    const buffer = Buffer.alloc(length)
    buffer.writeUIntLE(value, 0, length)
    return buffer
  }
}

function u64(value: number | bigint): Buffer {
  check(typeof value === 'bigint' || isWithin(value, 0, Number.MAX_SAFE_INTEGER), 'a number')
  const buffer = Buffer.alloc(8)
  buffer.writeBigUInt64LE(BigInt(value))
  return buffer
}
