import * as z from 'zod'
import { callClasses } from '../contract/calls.ts'
import { machineSave } from '../contract/machine-save.ts'
import { layerKinds, layerName, layersMax } from '../contract/layer.ts'
import {
  forkChildrenMax,
  phasesMax,
  programNames,
  mechanismPattern,
  operatorProgramPattern,
  wardenProtocol,
  type Request,
} from '../contract/warden.ts'
import { feedAgeMsMax, vulnerabilitySeverities } from '../contract/vulnerability.ts'
import { imageReferencePattern } from '../contract/image-reference.ts'
import { filled, whole } from '../contract/schema-parts.ts'
import { cores, diskBytesMax, ioBytesMin } from '../contract/units.ts'

/** Schema of requests: the server may be compromised, so each is read as hostile input. */
const id = z.number().int().min(1)
const wallId = z.string().regex(/^w[0-9a-f]{1,40}$/)
/** Milliseconds from now after which the wall is killed. */
const deadline = whole(1, 86_400_000 * 2)
const ran = whole(0, 86_400_000 * 2)
const capturedBytesMax = 2 ** 30
/** Minimum scratch space, for a job's own files. */
const diskBytesMin = 2 ** 20
/** PID_MAX_LIMIT of 64-bit kernels. */
const processesMax = 2 ** 22
const zone = filled(64)
const port = whole(1, 65_535)
const digest = z.string().regex(/^[0-9a-f]{64}$/)

const memoryBytes = whole(0, 2 ** 40)
const bounds = {
  cpu: cores.exactOptional(),
  io: whole(ioBytesMin, Number.MAX_SAFE_INTEGER).exactOptional(),
  processes: whole(1, processesMax).exactOptional(),
}

/** Fields of every request, and of those about a wall. */
const everyRequest = { protocol: z.literal(wardenProtocol), id }
const ofWall = { ...everyRequest, wall: wallId }

export const request: z.ZodType<Request> = z.discriminatedUnion('op', [
  z.strictObject({
    ...everyRequest,
    op: z.literal('start'),
    program: z.enum(programNames),
    /** Warm-up: isolates made ahead in a worker, dummy sources parsed in an analysis process. */
    spares: whole(0, 64),
    spareMiB: whole(8, 4096),
    isUrgent: z.boolean().exactOptional(),
    fresh: z.boolean().exactOptional(),
    mechanism: z.string().regex(mechanismPattern).exactOptional(),
    disk: whole(diskBytesMin, diskBytesMax).exactOptional(),
    calls: z.array(z.enum(callClasses)).max(callClasses.length).exactOptional(),
    layers: z
      .array(z.strictObject({ kind: z.enum(layerKinds), layer: layerName }))
      .max(layersMax)
      .exactOptional(),
    image: digest.exactOptional(),
    usual: z
      .strictObject({ memory: memoryBytes, cpu: bounds.cpu, processes: bounds.processes })
      .exactOptional(),
  }),
  z.strictObject({
    ...everyRequest,
    op: z.literal('image'),
    name: z.string().regex(imageReferencePattern),
    policy: z.strictObject({
      max_severity: z.enum(vulnerabilitySeverities),
      unknown_severity: z.enum(vulnerabilitySeverities),
      max_feed_age: whole(1, feedAgeMsMax),
      allow_imported: z.boolean(),
      unscanned_defaults: z.boolean(),
    }),
    isDefault: z.literal(true).exactOptional(),
  }),
  z.strictObject({
    ...ofWall,
    op: z.literal('claim'),
    /** Digest of the tenant's name; the warden only compares it, to refuse a second tenant. */
    tenant: z.string().max(64),
    /** Bytes above the wall's idle size. */
    memory: memoryBytes,
    deadline,
    ...bounds,
    isShort: z.boolean().exactOptional(),
    egress: z.boolean().exactOptional(),
    zones: z
      .array(
        z.strictObject({
          kind: zone,
          programs: z.array(filled(256)).min(1).max(16),
          memory: memoryBytes.exactOptional(),
          cpu: bounds.cpu,
          processes: bounds.processes,
          life: deadline,
        }),
      )
      .min(1)
      .max(32)
      .exactOptional(),
  }),
  z.strictObject({ ...ofWall, op: z.literal('arm'), deadline, ran: ran.exactOptional() }),
  z.strictObject({ ...ofWall, op: z.literal('release'), failed: z.literal(true).exactOptional() }),
  z.strictObject({ ...ofWall, op: z.literal('rest') }),
  z.strictObject({
    ...ofWall,
    op: z.literal('usage'),
    execEnded: z.enum(['ok', 'failed']).exactOptional(),
  }),
  z.strictObject({ ...ofWall, op: z.literal('memory') }),
  z.strictObject({
    ...ofWall,
    op: z.literal('callers'),
    from: z.ipv4(),
    local: port,
    remote: port,
  }),
  z.strictObject({ ...ofWall, op: z.literal('kill'), zone: zone.exactOptional() }),
  z.strictObject({
    ...ofWall,
    op: z.literal('tighten'),
    zone: zone.exactOptional(),
    memory: memoryBytes.exactOptional(),
    ...bounds,
  }),
  z.strictObject({
    ...ofWall,
    op: z.literal('calls'),
    phases: z
      .array(
        z.strictObject({
          afterMs: deadline.or(z.literal(0)),
          allow: z.array(z.enum(callClasses)).max(callClasses.length),
          kills: z.boolean().exactOptional(),
        }),
      )
      .min(1)
      .max(phasesMax),
  }),
  z.strictObject({ ...ofWall, op: z.enum(['freeze', 'thaw']) }),
  z.strictObject({
    ...ofWall,
    op: z.literal('capture'),
    bytes: whole(1, capturedBytesMax),
  }),
  z.strictObject({ ...everyRequest, op: z.literal('resume'), save: machineSave }),
  z.strictObject({
    ...everyRequest,
    op: z.literal('resumed'),
    resumption: z.string().regex(/^r[0-9a-f]{16}$/),
  }),
  z.strictObject({ ...ofWall, op: z.literal('fork'), children: whole(1, forkChildrenMax) }),
  z.strictObject({
    ...everyRequest,
    op: z.enum(['forked', 'forget-fork']),
    fork: z.string().regex(/^f[0-9a-f]{16}$/),
  }),
  z.strictObject({
    ...everyRequest,
    op: z.literal('program'),
    name: z.string().regex(operatorProgramPattern),
  }),
  z.strictObject({ ...everyRequest, op: z.enum(['facts', 'loads']) }),
  z.strictObject({
    ...everyRequest,
    op: z.literal('sign'),
    digests: z.array(digest).max(10_000),
    seq: z.number().int().min(0),
    head: digest,
  }),
])
