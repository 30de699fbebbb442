import * as z from 'zod'

/**
 * QMP commands that this engine uses, with the shape of each response (QEMU 10, `qapi/*.json`). Unused fields are dropped, because
 * each release adds some.
 */
const text = z.string().max(256)
const bytes = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)
const nothing = z.object({})

export const qmpAnswers = {
  qmp_capabilities: nothing,
  'query-status': z.object({ status: text, running: z.boolean() }),
  stop: nothing,
  cont: nothing,
  quit: nothing,
  migrate: nothing,
  'migrate-incoming': nothing,
  'migrate-set-capabilities': nothing,
  'query-migrate': z.object({
    /** Absent before the first migration. */
    status: text.optional(),
    'error-desc': z.string().optional(),
  }),
  block_set_io_throttle: nothing,
  'query-block': z
    .array(z.object({ qdev: text.optional(), inserted: z.object({ bps: bytes }).optional() }))
    .max(8),
  'xen-save-devices-state': nothing,
} as const satisfies Record<string, z.ZodType>

export type QmpCommand = keyof typeof qmpAnswers
export type QmpAnswer<Name extends QmpCommand> = z.infer<(typeof qmpAnswers)[Name]>

/** Arguments by command; other commands have none. */
export interface QmpArguments {
  readonly migrate: { readonly uri: FileUri }
  readonly 'migrate-incoming': { readonly uri: FileUri }
  readonly 'migrate-set-capabilities': {
    readonly capabilities: readonly {
      readonly capability: 'x-ignore-shared' | 'events'
      readonly state: boolean
    }[]
  }
  readonly block_set_io_throttle: IoThrottle
  /** Saves devices and processor without memory; works without Xen. `live: false`: the machine may run afterwards. */
  readonly 'xen-save-devices-state': { readonly filename: string; readonly live: false }
}

/** A path inside the jail of the machine. */
export type FileUri = `file:/${string}`

/** Bytes and operations a second; 0 is unlimited. `id` is the path of the device's back end in the QOM tree. */
export interface IoThrottle {
  readonly id: string
  readonly bps: number
  readonly bps_rd: number
  readonly bps_wr: number
  readonly iops: number
  readonly iops_rd: number
  readonly iops_wr: number
}

export type QmpQuestion<Name extends QmpCommand> = Name extends keyof QmpArguments
  ? [given: QmpArguments[Name], options?: QmpAskOptions]
  : [given?: undefined, options?: QmpAskOptions]

export interface QmpAskOptions {
  /** Milliseconds for the answer. */
  readonly msMax?: number
}

const number = z.number().int().min(0).max(1_000)
/** Release of QEMU, from its greeting. */
const qmpVersion = z.object({ major: number, minor: number, micro: number })
export type QmpVersion = Readonly<z.infer<typeof qmpVersion>>

const id = z.number().int().min(1)

/** A QMP message: greeting, response, error or event. */
export const qmpLine = z.union([
  z.object({ QMP: z.object({ version: z.object({ qemu: qmpVersion }) }) }),
  z.object({ return: z.unknown(), id }).refine((line) => 'return' in line),
  z.object({ error: z.object({ class: text, desc: z.string() }), id: id.optional() }),
  z.object({ event: text.min(1), data: z.record(z.string(), z.unknown()).optional() }),
])

export interface QmpEvent {
  readonly name: string
  /** Not validated. */
  readonly data: Readonly<Record<string, unknown>>
}
