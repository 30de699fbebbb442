import { encodeFrame } from '../lib/frames.ts'
import {
  agentCalls,
  type AgentCall,
  agentLimits,
  type AgentLimit,
  agentFolders,
  type AgentFolder,
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
} from './numbers.ts'

/** Messages of a host to the agent of a guest. */
export type HostMessage =
  | AgentClaim
  | AgentRun
  | { readonly kind: 'input'; readonly program: number; readonly bytes: Uint8Array }
  | { readonly kind: 'close'; readonly program: number }
  | {
      readonly kind: 'credit'
      readonly program: number
      readonly stream: 'stdout' | 'stderr'
      readonly bytes: number
    }
  | {
      readonly kind: 'signal'
      readonly program: number
      readonly signal: number
      readonly toGroup?: boolean
    }
  | { readonly kind: 'kill'; readonly nonce: number }
  | { readonly kind: 'phase'; readonly nonce: number; readonly command: AgentPhase }
  | {
      readonly kind: 'list'
      readonly nonce: number
      readonly path: string
      readonly skip?: number
    }
  | { readonly kind: 'status'; readonly nonce: number }
  /** Additional credit of observations. */
  | { readonly kind: 'watch'; readonly credit: number }
  | {
      readonly kind: 'renew'
      readonly nonce: number
      /** 32 to 256 bytes of this host's generator, used once. */
      readonly seed: Uint8Array
      readonly timeNs: bigint
    }
  /** Freezes or thaws the programs of the job. */
  | { readonly kind: 'hold'; readonly nonce: number; readonly on: boolean }
  | AgentListRequest
  | {
      readonly kind: 'read'
      readonly nonce: number
      readonly place: AgentFolder
      readonly path: GuestPath
      readonly offset: number
      readonly bytes: number
    }

/** Path in a guest: bytes, or a text that is encoded as UTF-8. */
export type GuestPath = string | Uint8Array

/** Requests a list of a folder. */
export interface AgentListRequest {
  readonly kind: 'look'
  readonly nonce: number
  readonly place: AgentFolder
  /** Empty for the top folder itself. */
  readonly path: GuestPath
  readonly skip?: number
}

export interface AgentClaim {
  readonly kind: 'claim'
  readonly id: string
  /** 32 to 256 bytes of this host's generator, for one clone only. */
  readonly seed: Uint8Array
  readonly timeNs: bigint
  /** Absent limits stay unchanged. */
  readonly limits: Partial<Readonly<Record<AgentLimit, number>>>
  /** Memory limit of the job's cgroup, in bytes above the usage at the claim. Absent: unchanged. */
  readonly memory?: number
  readonly hostname: string
  readonly labels: Readonly<Record<string, string>>
}

export interface AgentRun {
  readonly kind: 'run'
  readonly program: number
  /** Streams to forward; others are /dev/null. */
  readonly streams: readonly ('stdin' | 'stdout' | 'stderr')[]
  readonly uid: number
  readonly gid: number
  /** Bytes that the program may write before more credit is sent. */
  readonly stdoutCredit: number
  readonly stderrCredit: number
  readonly file: string
  readonly folder: string
  readonly args: readonly string[]
  readonly variables: readonly string[]
  /** Descriptors of the agent, by their names there. */
  readonly descriptors: readonly { readonly number: number; readonly name: string }[]
}

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

const UNLIMITED = 2n ** 64n - 1n
const STREAMS = { stdin: 1, stdout: 2, stderr: 4 } as const
const word = /^[\w.-]+$/
// oxlint-disable-next-line no-control-regex -- written as lines of a file: a control character could end or hide a line
const control = /[\0-\x1f\x7f]/

/** Encodes a message as a frame. Throws RangeError for a value outside the bounds of its field. */
export function encodeHostMessage(message: HostMessage): Buffer {
  const payload = Buffer.concat([u8(agentWireVersion), ...partsOf(message)])
  check(payload.length <= runBytesMax, 'a message that is too long')
  return encodeFrame(hostKinds[message.kind], payload)
}

function partsOf(message: HostMessage): readonly Buffer[] {
  switch (message.kind) {
    case 'claim':
      return claimParts(message)
    case 'run':
      return runParts(message)
    case 'input':
      check(within(message.bytes.length, 1, streamBytesMax), 'the length of an input')
      return [u32(message.program), Buffer.from(message.bytes)]
    case 'close':
      return [u32(message.program)]
    case 'credit':
      check(within(message.bytes, 0, creditMax), 'a credit')
      return [u32(message.program), u8(message.stream === 'stdout' ? 1 : 2), u32(message.bytes)]
    case 'signal':
      check(within(message.signal, 1, 31), 'a signal')
      return [u32(message.program), u8(message.signal), u8(message.toGroup ? 1 : 0)]
    case 'phase':
      return [u32(message.nonce), ...phaseParts(message.command)]
    case 'list': {
      const { nonce, path, skip = 0 } = message
      check(within(skip, 0, skipMax), 'a number of entries to skip')
      return [u32(nonce), u32(skip), str(path, 0, pathBytesMax)]
    }
    case 'renew':
      return [u32(message.nonce), ...seedAndTime(message)]
    case 'hold':
      return [u32(message.nonce), u8(message.on ? 1 : 0)]
    case 'look': {
      const { nonce, place, path, skip = 0 } = message
      check(within(skip, 0, skipMax), 'a number of entries to skip')
      return [u32(nonce), placeOf(place), u32(skip), str(path, 0, pathBytesMax)]
    }
    case 'read': {
      const { nonce, place, path, offset, bytes } = message
      check(within(bytes, 1, chunkBytesMax), 'a number of bytes')
      const part = [u64(offset), u32(bytes), str(path, 1, pathBytesMax)]
      return [u32(nonce), placeOf(place), ...part]
    }
    case 'watch':
      check(within(message.credit, 1, seenCreditMax), 'a credit of observations')
      return [u32(message.credit)]
    case 'kill':
    case 'status':
      return [u32(message.nonce)]
  }
}

function claimParts({ id, seed, timeNs, limits, memory, hostname, labels }: AgentClaim) {
  const pairs = Object.entries(labels)
  check(pairs.length <= labelsMax, 'a number of labels')
  check([id, hostname, ...pairs.map(([key]) => key)].every(isWord), 'a name of a claim')
  check(!pairs.some(([, value]) => control.test(value)), 'a label')
  return [
    str(id, 1, idBytesMax),
    ...seedAndTime({ seed, timeNs }),
    ...agentLimits.map((name) => u64(limits[name] === undefined ? UNLIMITED : limits[name])),
    u64(memory ?? UNLIMITED),
    str(hostname, 1, idBytesMax),
    u8(pairs.length),
    ...pairs.flatMap(([key, value]) => [str(key, 1, idBytesMax), str(value, 0, labelBytesMax)]),
  ]
}

function seedAndTime({ seed, timeNs }: Pick<AgentClaim, 'seed' | 'timeNs'>): readonly Buffer[] {
  check(within(seed.length, seedBytesMin, seedBytesMax), 'the length of a seed')
  check(timeNs >= 0n && timeNs < 2n ** 63n, 'a time')
  return [u16(seed.length), Buffer.from(seed), u64(timeNs)]
}

function runParts(run: AgentRun): readonly Buffer[] {
  const { streams, args, variables, descriptors } = run
  check(run.file.startsWith('/') && run.folder.startsWith('/'), 'a path that is not absolute')
  check(within(args.length, 1, wordsMax) && variables.length <= wordsMax, 'a number of words')
  check(within(run.stdoutCredit, 0, creditMax), 'a credit')
  check(within(run.stderrCredit, 0, creditMax), 'a credit')
  const numbers = new Set(descriptors.map(({ number }) => number))
  check(numbers.size === descriptors.length && numbers.size <= descriptorsMax, 'descriptors')
  check(
    [...numbers].every((number) => within(number, 3, 63)),
    'a number of a descriptor',
  )
  return [
    u32(run.program),
    u8(streams.reduce((mask, name) => mask | STREAMS[name], 0)),
    u32(run.uid),
    u32(run.gid),
    u32(run.stdoutCredit),
    u32(run.stderrCredit),
    str(run.file, 1, pathBytesMax),
    str(run.folder, 1, pathBytesMax),
    ...[args, variables].flatMap((words) => [
      u16(words.length),
      ...words.map((text) => str(text, 0, 2 ** 16 - 1)),
    ]),
    u8(descriptors.length),
    ...descriptors.flatMap(({ number, name }) => [
      u8(number),
      str(name, 1, descriptorNameBytesMax),
    ]),
  ]
}

function phaseParts(command: AgentPhase): readonly Buffer[] {
  switch (command.do) {
    case 'remount-read-only':
      return [u8(1), str(command.path, 1, pathBytesMax)]
    case 'lower-limit':
      return [u8(2), u8(agentLimits.indexOf(command.limit)), u64(command.value)]
    case 'kill-writers':
      return [u8(3), str(command.path, 1, pathBytesMax)]
    case 'close-writing':
      return [u8(4)]
    case 'lower-memory':
      return [u8(5), u64(command.bytes)]
    case 'replace-policy':
      check(within(command.policy.length, 1, policyBytesMax), 'the length of a profile')
      return [u8(6), u8(bitsOf(command.closes)), Buffer.from(command.policy)]
  }
}

const placeOf = (place: AgentFolder) => u8(agentFolders.indexOf(place))
const bitsOf = (closed: readonly AgentCall[]) =>
  closed.reduce((bits, name) => bits | (1 << agentCalls.indexOf(name)), 0)
const isWord = (text: string) => word.test(text)
const within = (value: number, min: number, max: number) =>
  Number.isInteger(value) && value >= min && value <= max

function check(isGood: boolean, subject: string): void {
  if (!isGood) throw new RangeError(`Cannot encode ${subject} for a guest agent: out of its bounds`)
}

function str(text: GuestPath, min: number, max: number): Buffer {
  const bytes = Buffer.from(text as string)
  check(within(bytes.length, min, max) && !bytes.includes(0), 'a text')
  return Buffer.concat([u16(bytes.length), bytes])
}

function unsigned(value: number, bytes: 1 | 2 | 4): Buffer {
  const buffer = Buffer.alloc(bytes)
  buffer.writeUIntLE(value, 0, bytes)
  return buffer
}

const u8 = (value: number) => unsigned(value, 1)
const u16 = (value: number) => unsigned(value, 2)
const u32 = (value: number) => unsigned(value, 4)

function u64(value: number | bigint): Buffer {
  check(typeof value === 'bigint' || within(value, 0, Number.MAX_SAFE_INTEGER), 'a number')
  const buffer = Buffer.alloc(8)
  buffer.writeBigUInt64LE(BigInt(value))
  return buffer
}
