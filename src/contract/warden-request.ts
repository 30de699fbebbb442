import * as z from 'zod'
import { callClasses } from './calls.ts'
import type { DeepReadonly } from './config.ts'
import { imageReferencePattern } from './image-reference.ts'
import { layerKinds, layerName, layersMax } from './layer.ts'
import { machineSave } from './machine-save.ts'
import { filled, whole } from './schema-parts.ts'
import { cores, diskBytesMax, ioBytesMin } from './units.ts'
import { feedAgeMsMax, vulnerabilitySeverities } from './vulnerability.ts'
import {
  forkChildrenMax,
  phasesMax,
  programNames,
  mechanismPattern,
  operatorProgramPattern,
  wardenProtocol,
} from './warden.ts'

/**
 * The complete set of requests from server to warden: names and bounded numbers. Never a path, an
 * argument vector or an environment; the warden composes those from its own launchers. The server may
 * be compromised, so each request is read as hostile input.
 */
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
const fork = z.string().regex(/^f[0-9a-f]{16}$/)

const memoryBytes = whole(0, 2 ** 40)
const bounds = {
  /** Cores. */
  cpu: cores.exactOptional(),
  /** Read and write rate of each device, in bytes a second. */
  io: whole(ioBytesMin, Number.MAX_SAFE_INTEGER).exactOptional(),
  /** Processes and threads in addition to the wall's own. */
  processes: whole(1, processesMax).exactOptional(),
}

/** Fields of every request, and of those about a wall. */
const everyRequest = { protocol: z.literal(wardenProtocol), id }
const ofWall = { ...everyRequest, wall: wallId }

export const request = z.discriminatedUnion('op', [
  z.strictObject({
    ...everyRequest,
    op: z.literal('start'),
    program: z.enum(programNames),
    /**
     * Warm-up level: isolates in a worker, dummy sources in an analysis process, a dummy job in
     * a program.
     */
    spares: whole(0, 64),
    spareMiB: whole(8, 4096),
    /** A short job waits for it, or soon will: its start gets CPU priority over running jobs. */
    isUrgent: z.boolean().exactOptional(),
    /** Started by its own exec, not forked from a template. */
    fresh: z.boolean().exactOptional(),
    mechanism: z.string().regex(mechanismPattern).exactOptional(),
    /** Scratch space of a whole program, in bytes. */
    disk: whole(diskBytesMin, diskBytesMax).exactOptional(),
    /** Call classes that a whole program's schedule may close; all by default. */
    calls: z.array(z.enum(callClasses)).max(callClasses.length).exactOptional(),
    /** Package layers that a whole program mounts, by name below the warden's own layer folder. */
    layers: z
      .array(z.strictObject({ kind: z.enum(layerKinds), layer: layerName }))
      .max(layersMax)
      .exactOptional(),
    /** Digest of the image whose files are the root of a whole program. */
    image: digest.exactOptional(),
    /** Expected bounds of the next job, set while the program is parked. */
    usual: z
      .strictObject({ memory: memoryBytes, cpu: bounds.cpu, processes: bounds.processes })
      .exactOptional(),
  }),
  /** Looks up the digest of an image, if the policy admits it. */
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
    /** The default image of a wall; no job named it. */
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
    /** Forecast by its last run: the job is expected to take little CPU time. */
    isShort: z.boolean().exactOptional(),
    /** The job comes behind others from its start. */
    isBehind: z.boolean().exactOptional(),
    /** Requests the listening socket inside the wall for its egress. */
    egress: z.boolean().exactOptional(),
    /** Executables of a whole program of which each execution starts a zone. */
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
  /**
   * Next job of the same tenant, under the memory bound of the last claim: resets deadline, peak memory and CPU time.
   * Answered only on failure. A wall whose deadline has passed is ended. At most `ran` milliseconds of the CPU time so far are
   * charged to that job, which has already run for as long.
   */
  z.strictObject({ ...ofWall, op: z.literal('arm'), deadline, ran: ran.exactOptional() }),
  /** `failed`: its job ended with an error; the answer then has the limit that it used up. */
  z.strictObject({ ...ofWall, op: z.literal('release'), failed: z.literal(true).exactOptional() }),
  /** A release without the usage in the answer; answered only on failure. */
  z.strictObject({ ...ofWall, op: z.literal('rest') }),
  z.strictObject({
    ...ofWall,
    op: z.literal('usage'),
    /** An exec of its session has ended: refusals are counted anew, and if it failed the answer has the limit that it used up. */
    execEnded: z.enum(['ok', 'failed']).exactOptional(),
  }),
  /** Requests the socket for memory copies; once per life. */
  z.strictObject({ ...ofWall, op: z.literal('memory') }),
  /** Finds the processes inside that hold a connection to the egress path, by its ends as seen from inside the wall. */
  z.strictObject({
    ...ofWall,
    op: z.literal('callers'),
    from: z.ipv4(),
    local: port,
    remote: port,
  }),
  /** The whole wall, or one zone of its programs. */
  z.strictObject({ ...ofWall, op: z.literal('kill'), zone: zone.exactOptional() }),
  /** Lowers bounds of a claimed wall; omitted ones stay. Answered after each was read back. */
  z.strictObject({
    ...ofWall,
    op: z.literal('tighten'),
    /** A program zone of the wall; `io` then does not apply. */
    zone: zone.exactOptional(),
    memory: memoryBytes.exactOptional(),
    ...bounds,
  }),
  /**
   * Closes classes of system calls, now or later; no request reopens one. Answered when the
   * immediate ones hold.
   */
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
  /** Answered when every process in it is stopped. Its deadline keeps running, and is `hold` milliseconds from now at least. */
  z.strictObject({ ...ofWall, op: z.literal('freeze'), hold: whole(1, 10_000).exactOptional() }),
  z.strictObject({ ...ofWall, op: z.literal('thaw') }),
  /** Copies at most `bytes` of memory. */
  z.strictObject({ ...ofWall, op: z.literal('capture'), bytes: whole(1, capturedBytesMax) }),
  /** Requests the socket for a save of a machine, from which a machine is resumed once it has arrived. */
  z.strictObject({ ...everyRequest, op: z.literal('resume'), save: machineSave }),
  /** Waits for that machine, which is stopped then; once for each. */
  z.strictObject({
    ...everyRequest,
    op: z.literal('resumed'),
    resumption: z.string().regex(/^r[0-9a-f]{16}$/),
  }),
  /** Saves a claimed wall, of which `children` further ones may be started. */
  z.strictObject({ ...ofWall, op: z.literal('fork'), children: whole(1, forkChildrenMax) }),
  /** Starts one of them; answered as a start. */
  z.strictObject({ ...everyRequest, op: z.literal('forked'), fork }),
  /** Starts none of them any more. */
  z.strictObject({ ...everyRequest, op: z.literal('forget-fork'), fork }),
  /** Starts the program of an MCP server, by its name in the operator's configuration. */
  z.strictObject({
    ...everyRequest,
    op: z.literal('program'),
    name: z.string().regex(operatorProgramPattern),
  }),
  /** Current usage of every wall that has a job. */
  z.strictObject({ ...everyRequest, op: z.literal('loads') }),
  z.strictObject({ ...everyRequest, op: z.literal('facts') }),
  z.strictObject({
    ...everyRequest,
    op: z.literal('sign'),
    digests: z.array(digest).max(10_000),
    seq: z.number().int().min(0),
    head: digest,
  }),
])

export type Request = DeepReadonly<z.infer<typeof request>>

/** A request without the fields that the client adds. */
export type WardenRequest = Request extends infer R
  ? R extends Request
    ? Omit<R, 'protocol' | 'id'>
    : never
  : never
