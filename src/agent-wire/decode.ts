import { FrameDecoder } from '../lib/frames.ts'
import {
  agentAbilities,
  type AgentAbility,
  agentKinds,
  agentWireVersion,
  answerBytesMax,
  chunkBytesMax,
  claimSteps,
  type ClaimStep,
  creditMax,
  entriesMax,
  hostKinds,
  lostCodes,
  nameBytesMax,
  type RefusalClass,
  refusalClasses,
  runStages,
  seenTextBytesMax,
  type RunStage,
  statusMax,
  streamBytesMax,
} from './numbers.ts'

/**
 * Messages of a guest's agent, read as hostile input: the guest may have compromised its agent, so every length, count, number
 * and text is bounded, a frame is exactly as long as its fields, and the first violation ends the connection.
 *
 * Every value is a claim of the guest. No security decision relies on it: to be sure that a guest has ended, the host kills the
 * machine. Names may contain any character but NUL, and bytes that are not UTF-8 are decoded as U+FFFD.
 *
 * Not handled: well-formed but unexpected messages, which `AgentConversation` refuses.
 */
export type AgentMessage =
  | AgentHello
  | AgentClaimed
  | { readonly kind: 'started'; readonly program: number; readonly pid: number }
  | AgentOutput
  | { readonly kind: 'ended'; readonly program: number; readonly stream: AgentStream }
  | { readonly kind: 'credit'; readonly program: number; readonly bytes: number }
  | AgentExited
  | { readonly kind: 'killed'; readonly nonce: number; readonly mayBeLeft: boolean }
  | {
      readonly kind: 'phased'
      readonly nonce: number
      readonly errno: number
      readonly touched: number
    }
  | {
      readonly kind: 'listed'
      readonly nonce: number
      readonly errno: number
      readonly hasMore: boolean
      readonly entries: readonly OverlayEntry[]
    }
  | AgentStatused
  | {
      readonly kind: 'refused'
      readonly what: keyof typeof hostKinds
      readonly about: number
      readonly stage: RunStage
      readonly errno: number
    }
  | { readonly kind: 'lost'; readonly code: keyof typeof lostCodes }
  | AgentRenewed
  | AgentSeen
  | { readonly kind: 'held'; readonly nonce: number; readonly errno: number }
  | AgentChunk

export type AgentStream = 'stdin' | 'stdout' | 'stderr'

export interface AgentOutput {
  readonly kind: 'output'
  readonly program: number
  readonly stream: 'stdout' | 'stderr'
  readonly bytes: Buffer
}

export interface AgentHello {
  readonly kind: 'hello'
  readonly inputBytes: number
  readonly abilities: readonly AgentAbility[]
}

export interface AgentClaimed {
  readonly kind: 'claimed'
  /** SHA-256 of seed and boot id. */
  readonly digest: Buffer
  /** Empty if the guest has no /proc. */
  readonly bootId: string
  /** Errno of each step; 0 is done. */
  readonly steps: Readonly<Record<ClaimStep, number>>
}

export interface AgentExited {
  readonly kind: 'exited'
  readonly program: number
  readonly end: { readonly exitCode: number } | { readonly signal: number }
  readonly cpuUs: number
  readonly peakKiB: number
}

export interface AgentStatused {
  readonly kind: 'statused'
  readonly nonce: number
  readonly count: number
  /** OOM kills of the job by the guest's kernel, and bytes that the job has in use. */
  readonly memoryKills: number
  readonly memoryBytes: number
  readonly processes: readonly GuestProcess[]
}

export interface OverlayEntry {
  readonly name: string
  /** The undecoded name. */
  readonly raw: Buffer
  readonly type: 'file' | 'folder' | 'link' | 'other'
  readonly size: number
  readonly modifiedMs: number
}

export interface GuestProcess {
  readonly pid: number
  readonly parent: number
  readonly name: string
  readonly cpuUs: number
  readonly rssKiB: number
}

/** An observation of the job's programs by the guest's kernel. Times are milliseconds of the guest's monotonic clock. */
export interface AgentSeen {
  readonly kind: 'seen'
  /** 0 if unknown. */
  readonly pid: number
  readonly timeMs: number
  /** Observations that were dropped so far. */
  readonly leftOut: number
  readonly seen:
    | { readonly what: 'exec'; readonly path: string; readonly changedMs: number }
    | {
        readonly what: 'refusal'
        readonly class: RefusalClass
        readonly operation: string
        /** Path of a file, family of a socket, name of a capability. */
        readonly subject: string
      }
    | {
        readonly what: 'exit'
        readonly end: { readonly exitCode: number } | { readonly signal: number }
      }
    | { readonly what: 'oom'; readonly times: number }
}

export interface AgentRenewed {
  readonly kind: 'renewed'
  readonly nonce: number
  /** Errno of each step; 0 is done. */
  readonly steps: Readonly<Record<'entropy' | 'reseed' | 'clock', number>>
}

/** A part of a file, or the target of a link. */
export interface AgentChunk {
  readonly kind: 'chunk'
  readonly nonce: number
  readonly errno: number
  readonly isLink: boolean
  readonly mode: number
  readonly uid: number
  readonly size: number
  readonly bytes: Buffer
}

const streams = ['stdin', 'stdout', 'stderr'] as const
/** Types of getdents64(2). */
const entryTypes: Readonly<Record<number, OverlayEntry['type']>> = {
  4: 'folder',
  8: 'file',
  10: 'link',
}
const ERRNO_MAX = 4095
const PID_MAX = 2 ** 22
const US_PER_MS = 1_000
const PROCESS_NAME_BYTES_MAX = 15
const bootIdForm = /^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?$/
const hostKindOf = new Map<number, keyof typeof hostKinds>(
  Object.entries(hostKinds).map(([name, number]) => [number, name as keyof typeof hostKinds]),
)

/** Splits the bytes of an agent into messages. Throws RangeError at the first violation, and must not be used afterwards. */
export class AgentReader {
  readonly #frames: FrameDecoder

  constructor() {
    this.#frames = new FrameDecoder(answerBytesMax)
  }

  /** Part of a message was received. */
  get isWithinFrame(): boolean {
    return this.#frames.heldBytes > 0
  }

  *push(chunk: Buffer): Generator<AgentMessage> {
    for (const { kind, payload } of this.#frames.push(chunk))
      yield decodeAgentMessage(kind, payload)
  }
}

/** Throws RangeError for anything that is not exactly a message of this version. */
export function decodeAgentMessage(kind: number, payload: Buffer): AgentMessage {
  const read = readers.get(kind)
  if (!read) throw fault(`kind ${kind}`)
  const fields = new Fields(payload)
  if (fields.u8() !== agentWireVersion) throw fault('version')
  const message = read(fields)
  if (fields.left > 0) throw fault('length')
  return message
}

const readers = new Map<number, (from: Fields) => AgentMessage>([
  [agentKinds.hello, readHello],
  [agentKinds.claimed, readClaimed],
  [
    agentKinds.started,
    (from) => ({ kind: 'started', program: from.u32(), pid: from.u32(2, PID_MAX) }),
  ],
  [
    agentKinds.output,
    (from) => ({
      kind: 'output',
      program: from.u32(),
      stream: from.u8(1, 2) === 1 ? 'stdout' : 'stderr',
      bytes: from.bytes(from.left, 1, streamBytesMax),
    }),
  ],
  [
    agentKinds.ended,
    (from) => ({ kind: 'ended', program: from.u32(), stream: streams[from.u8(0, 2)]! }),
  ],
  [
    agentKinds.credit,
    (from) => ({ kind: 'credit', program: from.u32(), bytes: from.u32(1, creditMax) }),
  ],
  [agentKinds.exited, readExited],
  [
    agentKinds.killed,
    (from) => ({ kind: 'killed', nonce: from.u32(), mayBeLeft: from.u8(0, 1) === 1 }),
  ],
  [
    agentKinds.phased,
    (from) => ({
      kind: 'phased',
      nonce: from.u32(),
      errno: from.u16(ERRNO_MAX),
      touched: from.u32(),
    }),
  ],
  [agentKinds.listed, readListed],
  [agentKinds.statused, readStatused],
  [agentKinds.refused, readRefused],
  [agentKinds.lost, readLost],
  [
    agentKinds.renewed,
    (from) => ({
      kind: 'renewed',
      nonce: from.u32(),
      steps: {
        entropy: from.u16(ERRNO_MAX),
        reseed: from.u16(ERRNO_MAX),
        clock: from.u16(ERRNO_MAX),
      },
    }),
  ],
  [agentKinds.held, (from) => ({ kind: 'held', nonce: from.u32(), errno: from.u16(ERRNO_MAX) })],
  [agentKinds.chunk, readChunk],
  [agentKinds.seen, readSeen],
])

function readHello(from: Fields): AgentMessage {
  const inputBytes = from.u32(1, creditMax)
  const bits = from.u8(0, 2 ** agentAbilities.length - 1)
  const abilities = agentAbilities.filter((_, index) => bits & (1 << index))
  return { kind: 'hello', inputBytes, abilities }
}

function readClaimed(from: Fields): AgentMessage {
  const digest = from.bytes(32, 32, 32)
  const bootId = from.text(0, 36)
  if (!bootIdForm.test(bootId)) throw fault('boot id')
  const count = from.u8(claimSteps.length, claimSteps.length)
  const steps: Record<string, number> = {}
  for (let index = 0; index < count; index++) {
    if (from.u8() !== index + 1) throw fault('step')
    steps[claimSteps[index]!] = from.u16(ERRNO_MAX)
  }
  return { kind: 'claimed', digest, bootId, steps: steps as Record<ClaimStep, number> }
}

function readExited(from: Fields): AgentMessage {
  const program = from.u32()
  const end = readEnd(from)
  return { kind: 'exited', program, end, cpuUs: from.u64(), peakKiB: from.u64() }
}

function readEnd(from: Fields): AgentExited['end'] {
  const isSignal = from.u8(0, 1) === 1
  const value = from.u8()
  if (isSignal && (value < 1 || value > 64)) throw fault('signal')
  return isSignal ? { signal: value } : { exitCode: value }
}

function readSeen(from: Fields): AgentMessage {
  const what = from.u8(1, seenKinds.length)
  const [pid, timeMs, leftOut] = [from.u32(0, PID_MAX), from.u64() / US_PER_MS, from.u32()]
  return { kind: 'seen', pid, timeMs, leftOut, seen: seenKinds[what - 1]!(from) }
}

/** Parsers of an observation's specific fields, by its number minus one. */
const seenKinds: readonly ((from: Fields) => AgentSeen['seen'])[] = [
  (from) => {
    const changedMs = from.u64() / US_PER_MS
    return { what: 'exec', path: from.text(0, seenTextBytesMax), changedMs }
  },
  (from) => {
    const name = refusalClasses[from.u8(0, refusalClasses.length - 1)]!
    const operation = from.text(0, seenTextBytesMax)
    return { what: 'refusal', class: name, operation, subject: from.text(0, seenTextBytesMax) }
  },
  (from) => ({ what: 'exit', end: readEnd(from) }),
  (from) => ({ what: 'oom', times: from.u64() }),
]

function readListed(from: Fields): AgentMessage {
  const [nonce, errno, hasMore] = [from.u32(), from.u16(ERRNO_MAX), from.u8(0, 1) === 1]
  const count = from.u16(entriesMax)
  const entries: OverlayEntry[] = []
  for (let index = 0; index < count; index++) entries.push(readEntry(from))
  return { kind: 'listed', nonce, errno, hasMore, entries }
}

function readEntry(from: Fields): OverlayEntry {
  const raw = from.word(1, nameBytesMax)
  const name = raw.toString()
  if (name.includes('/') || name === '.' || name === '..') throw fault('name')
  const type = entryTypes[from.u8()] ?? 'other'
  return { name, raw, type, size: from.u64(), modifiedMs: Math.floor(from.u64() / 1e6) }
}

function readStatused(from: Fields): AgentMessage {
  const [nonce, count] = [from.u32(), from.u32(0, PID_MAX)]
  const [memoryKills, memoryBytes] = [from.u64(), from.u64()]
  const listed = from.u16(statusMax)
  if (listed > count) throw fault('count')
  const processes: GuestProcess[] = []
  for (let index = 0; index < listed; index++)
    processes.push({
      pid: from.u32(1, PID_MAX),
      parent: from.u32(0, PID_MAX),
      name: from.text(0, PROCESS_NAME_BYTES_MAX),
      cpuUs: from.u64(),
      rssKiB: from.u64(),
    })
  return { kind: 'statused', nonce, count, memoryKills, memoryBytes, processes }
}

function readRefused(from: Fields): AgentMessage {
  const what = hostKindOf.get(from.u8())
  if (!what) throw fault('refused kind')
  const about = from.u32()
  const stage = runStages[from.u8(0, runStages.length - 1)]!
  return { kind: 'refused', what, about, stage, errno: from.u16(ERRNO_MAX) }
}

function readChunk(from: Fields): AgentMessage {
  const [nonce, errno] = [from.u32(), from.u16(ERRNO_MAX)]
  const isLink = from.u8(1, 2) === 2
  const [mode, uid, size] = [from.u32(), from.u32(), from.u64()]
  const bytes = from.bytes(from.left, 0, errno === 0 ? chunkBytesMax : 0)
  return { kind: 'chunk', nonce, errno, isLink, mode, uid, size, bytes }
}

function readLost(from: Fields): AgentMessage {
  const code = from.u8()
  if (!Object.hasOwn(lostCodes, code)) throw fault('code')
  return { kind: 'lost', code: code as keyof typeof lostCodes }
}

const fault = (what: string) =>
  new RangeError(`Cannot read a message of a guest agent: its ${what} violates the protocol`)

/** Reads the fields of one payload in order. */
class Fields {
  #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get left(): number {
    return this.#bytes.length - this.#at
  }

  u8(min = 0, max = 255): number {
    return bounded(this.#number(1), min, max)
  }

  u16(max: number): number {
    return bounded(this.#number(2), 0, max)
  }

  u32(min = 0, max = 2 ** 32 - 1): number {
    return bounded(this.#number(4), min, max)
  }

  /** Clamped to 2^53: such numbers are only displayed. */
  u64(): number {
    const value = this.#take(8).readBigUInt64LE()
    return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value)
  }

  bytes(length: number, min: number, max: number): Buffer {
    return this.#take(bounded(length, min, max))
  }

  text(min: number, max: number): string {
    return this.word(min, max).toString()
  }

  /** Bytes of a text. */
  word(min: number, max: number): Buffer {
    const bytes = this.bytes(this.u16(max), min, max)
    if (bytes.includes(0)) throw fault('text')
    return bytes
  }

  #number(length: 1 | 2 | 4): number {
    return this.#take(length).readUIntLE(0, length)
  }

  #take(length: number): Buffer {
    if (length > this.left) throw fault('length')
    const from = this.#at
    this.#at += length
    return this.#bytes.subarray(from, this.#at)
  }
}

function bounded(value: number, min: number, max: number): number {
  if (value < min || value > max) throw fault('number')
  return value
}
