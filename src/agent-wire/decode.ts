import { FrameDecoder } from '../lib/frames.ts'
import {
  agentAbilities,
  agentKinds,
  agentWireVersion,
  answerBytesMax,
  chunkBytesMax,
  claimSteps,
  type ClaimStep,
  creditMax,
  listedEntriesMax,
  hostKinds,
  lostCodes,
  nameBytesMax,
  refusalClasses,
  runStages,
  seenTextBytesMax,
  statusMax,
  streamBytesMax,
  zoneRulesMax,
  zonesMadeMax,
} from './numbers.ts'
import {
  checkedField,
  payloadFault,
  fields,
  type FieldReader,
  flagField,
  list,
  oneOf,
  Payload,
  rest,
  text,
  u16,
  u32,
  u64,
  u8,
  word,
} from './payload.ts'

/**
 * Messages of a guest's agent, read as hostile input: the guest may have compromised its agent, so every length, count, number
 * and text is bounded, a frame is exactly as long as its fields, and the first violation ends the connection.
 *
 * Every value is a claim of the guest. No security decision relies on it: to be sure that a guest has ended, the host kills the
 * machine. Names may contain any character but NUL, and bytes that are not UTF-8 are decoded as U+FFFD.
 *
 * Not handled: well-formed but unexpected messages, which `AgentConversation` refuses.
 */
export type AgentMessage = AgentMessageOf<keyof typeof messages>
export type AgentMessageOf<Kind extends keyof typeof messages> = Kind extends unknown
  ? { readonly kind: Kind } & ReturnType<(typeof messages)[Kind]>
  : never

export type AgentStream = AgentMessageOf<'ended'>['stream']
export type OverlayEntry = ReturnType<typeof readEntry>
export type GuestProcess = AgentMessageOf<'statused'>['processes'][number]

const ERRNO_MAX = 4095
const PID_MAX = 2 ** 22
const SIGNAL_MAX = 64
const DIGEST_BYTES = 32
const US_PER_MS = 1_000
const NS_PER_MS = 1e6
const PROCESS_NAME_BYTES_MAX = 15
const bootIdForm = /^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?$/
/** Types of getdents64(2). */
const entryTypes: Readonly<Record<number, 'file' | 'folder' | 'link'>> = {
  4: 'folder',
  8: 'file',
  10: 'link',
}

const byte = u8()
const errno = u16(ERRNO_MAX)
const seenText = text(0, seenTextBytesMax)
const milliseconds = (from: Payload) => u64(from) / US_PER_MS
const kindOf = byNumber(agentKinds)
const hostKindOf = byNumber(hostKinds)

/** Fields of each kind of message, in the order of the wire. */
const messages = {
  hello: fields({
    inputBytes: u32(1, creditMax),
    abilities: readAbilities,
  }),
  claimed: fields({
    /** SHA-256 of seed and boot id. */
    digest: (from) => from.take(DIGEST_BYTES),
    /** Empty if the guest has no /proc. */
    bootId: checkedField(text(0, 36), (id) => bootIdForm.test(id), 'boot id'),
    /** Errno of each step; 0 is done. */
    steps: readClaimSteps,
  }),
  started: fields({ program: u32(), pid: u32(2, PID_MAX) }),
  output: fields({
    program: u32(),
    stream: oneOf(['stdout', 'stderr'], 1),
    bytes: rest(1, streamBytesMax),
  }),
  ended: fields({ program: u32(), stream: oneOf(['stdin', 'stdout', 'stderr']) }),
  credit: fields({ program: u32(), bytes: u32(1, creditMax) }),
  exited: fields({ program: u32(), end: readEnd, cpuUs: u64, peakKiB: u64 }),
  killed: fields({ nonce: u32(), mayBeLeft: flagField }),
  phased: fields({ nonce: u32(), errno, touched: u32() }),
  listed: fields({
    nonce: u32(),
    errno,
    hasMore: flagField,
    entries: list(listedEntriesMax, readEntry),
  }),
  statused: checkedField(
    fields({
      nonce: u32(),
      count: u32(0, PID_MAX),
      /** OOM kills of the job by the guest's kernel, and bytes that the job has in use. */
      memoryKills: u64,
      memoryBytes: u64,
      /** Tasks of the job: refused by its limit, now, and most so far. RLIMIT_NPROC refuses first, and is not counted. */
      tasksRefused: u64,
      tasks: u32(0, PID_MAX),
      tasksPeak: u32(0, PID_MAX),
      isDiskFull: flagField,
      processes: list(
        statusMax,
        fields({
          pid: u32(1, PID_MAX),
          parent: u32(0, PID_MAX),
          name: text(0, PROCESS_NAME_BYTES_MAX),
          cpuUs: u64,
          rssKiB: u64,
        }),
      ),
    }),
    ({ count, processes }) => processes.length <= count,
    'count',
  ),
  refused: fields({
    what: readHostKind,
    about: u32(),
    stage: oneOf(runStages),
    errno,
  }),
  lost: fields({
    code: checkedField(
      byte as FieldReader<keyof typeof lostCodes>,
      (code) => Object.hasOwn(lostCodes, code),
      'code',
    ),
  }),
  renewed: fields({
    nonce: u32(),
    /** Errno of each step; 0 is done. */
    steps: fields({ entropy: errno, reseed: errno, clock: errno }),
  }),
  held: fields({ nonce: u32(), errno }),
  /** A part of a file, or the target of a link. */
  chunk: checkedField(
    fields({
      nonce: u32(),
      errno,
      isLink: oneOf([false, true], 1),
      mode: u32(),
      uid: u32(),
      size: u64,
      bytes: rest(0, chunkBytesMax),
    }),
    (chunk) => chunk.errno === 0 || chunk.bytes.length === 0,
    'number',
  ),
  /** An observation of the job's programs by the guest's kernel. Times are milliseconds of the guest's monotonic clock. */
  seen: readSeen,
  zoned: fields({ nonce: u32(), errno }),
  /** A zone of programs of the job. */
  zone: (from) => oneOf(zoneKinds, 1)(from)(from),
} satisfies Readonly<Record<keyof typeof agentKinds, FieldReader<object>>>

const observer = fields({
  /** 0 if unknown. */
  pid: u32(0, PID_MAX),
  timeMs: milliseconds,
  /** Observations that were dropped so far. */
  leftOut: u32(),
})

/** Readers of an observation's specific fields, in the order of their numbers. */
const seenKinds = [
  (from: Payload) => {
    const changedMs = milliseconds(from)
    return { what: 'exec', path: seenText(from), changedMs } as const
  },
  fields({
    what: () => 'refusal' as const,
    class: oneOf(refusalClasses),
    operation: seenText,
    /** Path of a file, family of a socket, name of a capability. */
    subject: seenText,
  }),
  fields({ what: () => 'exit' as const, end: readEnd }),
  fields({ what: () => 'oom' as const, times: u64 }),
]

const zoneId = u32(1, zonesMadeMax)
const zoneStart = {
  rule: u8(0, zoneRulesMax - 1),
  /** Zone around it; 0 if there is none. */
  outer: u32(0, zonesMadeMax),
}

/** Readers of a report of a zone, in the order of their numbers. */
const zoneKinds = [
  fields({
    what: () => 'began' as const,
    zone: zoneId,
    ...zoneStart,
    path: seenText,
  }),
  fields({
    what: () => 'gone' as const,
    zone: zoneId,
    /** An OOM kill at its limit, or at one around it, ended it. */
    isOutOfMemory: flagField,
    peakBytes: u64,
  }),
  fields({
    what: () => 'refused' as const,
    zone: u32(0, 0),
    ...zoneStart,
    errno,
    path: seenText,
  }),
]

/** Splits the bytes of an agent into messages. Throws RangeError at the first violation, and must not be used afterwards. */
export class AgentReader {
  readonly #frames = new FrameDecoder(answerBytesMax)

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
export function decodeAgentMessage(number: number, payload: Buffer): AgentMessage {
  const kind = kindOf.get(number)
  if (!kind) throw payloadFault(`kind ${number}`)
  const from = new Payload(payload)
  if (byte(from) !== agentWireVersion) throw payloadFault('version')
  const message = { kind, ...messages[kind](from) } as AgentMessage
  if (from.left > 0) throw payloadFault('length')
  return message
}

function readAbilities(from: Payload) {
  const bits = u8(0, 2 ** agentAbilities.length - 1)(from)
  return agentAbilities.filter((_, index) => bits & (1 << index))
}

function readClaimSteps(from: Payload) {
  if (byte(from) !== claimSteps.length) throw payloadFault('number')
  const steps = claimSteps.map((name, index) => {
    if (byte(from) !== index + 1) throw payloadFault('step')
    return [name, errno(from)] as const
  })
  return Object.fromEntries(steps) as Readonly<Record<ClaimStep, number>>
}

function readEnd(from: Payload): { readonly exitCode: number } | { readonly signal: number } {
  const isSignal = flagField(from)
  const value = byte(from)
  if (isSignal && (value < 1 || value > SIGNAL_MAX)) throw payloadFault('signal')
  return isSignal ? { signal: value } : { exitCode: value }
}

function readEntry(from: Payload) {
  const raw = word(1, nameBytesMax)(from)
  const name = raw.toString()
  if (name.includes('/') || name === '.' || name === '..') throw payloadFault('name')
  const type = entryTypes[byte(from)] ?? 'other'
  return { name, raw, type, size: u64(from), modifiedMs: Math.floor(u64(from) / NS_PER_MS) }
}

function readHostKind(from: Payload) {
  const kind = hostKindOf.get(byte(from))
  if (!kind) throw payloadFault('refused kind')
  return kind
}

function readSeen(from: Payload) {
  const readDetails = oneOf(seenKinds, 1)(from)
  return { ...observer(from), seen: readDetails(from) }
}

function byNumber<Name extends string>(kinds: Readonly<Record<Name, number>>) {
  return new Map(Object.entries(kinds).map(([name, number]) => [number, name as Name]))
}
