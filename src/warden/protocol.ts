import * as z from 'zod'

/**
 * What a server may ask of the warden, and all it may ask: names and numbers within bounds. Never a path, an
 * argument vector or an environment; the warden composes those from its own launchers.
 */
export const wardenProtocol = 1
/** What one request may weigh, as JSON. */
export const requestBytesMax = 2 ** 20

const id = z.number().int().min(1)
const wallId = z.string().regex(/^w[0-9a-f]{1,40}$/)
const digest = z.string().regex(/^[0-9a-f]{64}$/)

export const programNames = ['isolated-vm', 'analyst'] as const
export type ProgramName = (typeof programNames)[number]

export const request = z.discriminatedUnion('op', [
  z.strictObject({
    protocol: z.literal(wardenProtocol),
    id,
    op: z.literal('start'),
    program: z.enum(programNames),
    /** What is made ahead: isolates in a worker, dummy sources in an analysis process. */
    spares: z.number().int().min(0).max(64),
    spareMiB: z.number().int().min(8).max(4096),
  }),
  z.strictObject({
    protocol: z.literal(wardenProtocol),
    id,
    op: z.literal('claim'),
    wall: wallId,
    /** A digest of the tenant's name: all the warden needs to refuse a second one. */
    tenant: z.string().max(64),
    /** Bytes above what the wall uses now. */
    memory: z
      .number()
      .int()
      .min(0)
      .max(2 ** 40),
    /** Milliseconds from now after which the wall is killed. */
    deadline: z
      .number()
      .int()
      .min(1)
      .max(86_400_000 * 2),
  }),
  z.strictObject({
    protocol: z.literal(wardenProtocol),
    id,
    op: z.literal('release'),
    wall: wallId,
  }),
  z.strictObject({ protocol: z.literal(wardenProtocol), id, op: z.literal('kill'), wall: wallId }),
  z.strictObject({ protocol: z.literal(wardenProtocol), id, op: z.literal('facts') }),
  z.strictObject({
    protocol: z.literal(wardenProtocol),
    id,
    op: z.literal('sign'),
    digests: z.array(digest).max(10_000),
    seq: z.number().int().min(0),
    head: digest,
  }),
])
export type Request = z.infer<typeof request>
/** A request without what the client puts in itself. */
export type Asked = Request extends infer R
  ? R extends Request
    ? Omit<R, 'protocol' | 'id'>
    : never
  : never

/** A wall as the warden made it. */
export interface Wall {
  readonly id: string
  readonly program: ProgramName
  readonly pid: number
  readonly way: 'embedded' | 'bubblewrap'
  readonly layers: readonly string[]
  readonly missing: readonly string[]
  /** Resident bytes when it was warm and had seen no job. */
  readonly idleBytes: number
  /** Milliseconds from the request to readiness. */
  readonly took: number
}

export interface WardenFacts {
  readonly pid: number
  readonly root: boolean
  readonly walls: readonly {
    readonly id: string
    readonly program: ProgramName
    readonly pid: number
    readonly proportionalBytes: number
  }[]
  readonly proportionalBytes: number
  readonly publicKey: string
}

export type WallEnd = 'killed' | 'memory' | 'deadline' | 'exit'

/** What the warden answers, and what it says of its own accord. */
export type Reply =
  | { readonly id: number; readonly ok: true; readonly value: unknown }
  | {
      readonly id: number
      readonly ok: false
      readonly code: string
      readonly message: string
      readonly hint?: string
    }
  | {
      readonly ended: string
      readonly how: WallEnd
      readonly peakBytes: number
      readonly detail: string
    }
