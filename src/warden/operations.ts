import type { Server, Socket } from 'node:net'
import type { Enclosure, EnclosureBounds } from '../contract/engine.ts'
import { MayflyError } from '../contract/error.ts'
import { present } from '../lib/present.ts'
import type { ClaimResult, BoundMechanisms, StreamName, WallUsage } from '../contract/warden.ts'
import type { Request } from '../contract/warden-request.ts'
import type { LiveWall } from './live-wall.ts'
import type { LiveWalls } from './live-walls.ts'

/** Handlers of requests about one wall. All but `kill` throw MayflyError NOT_FOUND for a wall that is gone. */

/** Sockets of a wall that are handed over with a reply; the receiver owns them. */
export interface Handover {
  readonly wall: string
  readonly handle: Socket | Server
  readonly streams?: Readonly<Record<StreamName, Socket>>
}

export interface Answer {
  readonly value: unknown
  readonly handover?: Handover | undefined
}

type RequestOf<Op extends Request['op']> = Extract<Request, { op: Op }>
type WallOp = Exclude<
  Request['op'],
  | 'start'
  | 'resume'
  | 'resumed'
  | 'fork'
  | 'forked'
  | 'forget-fork'
  | 'image'
  | 'facts'
  | 'sign'
  | 'loads'
  | 'program'
>

export const operations: {
  readonly [Op in WallOp]: (walls: LiveWalls, asked: RequestOf<Op>) => Answer | Promise<Answer>
} = {
  claim,
  arm(walls, { wall, deadline, ran }) {
    walls.rearm(wall, deadline, ran)
    return { value: null }
  },
  rest(walls, { wall }) {
    walls.release(wall)
    return { value: null }
  },
  async release(walls, { wall, failed = false }) {
    return { value: failed ? await walls.releaseFailed(wall) : walls.release(wall) }
  },
  usage: async (walls, { wall, execEnded }) => ({
    value: await usage(walls.find(wall), execEnded),
  }),
  async callers(walls, { wall, ...ends }) {
    const { connections } = walls.find(wall).enclosure
    return { value: (await connections?.find(ends)) ?? [] }
  },
  async kill(walls, { wall, zone }) {
    return {
      value: await (zone === undefined ? walls.kill(wall, 'killed') : endZone(walls, wall, zone)),
    }
  },
  tighten: async (walls, asked) => ({ value: await tighten(walls.find(asked.wall), asked) }),
  calls: async (walls, asked) => ({ value: await closeCalls(walls.find(asked.wall), asked) }),
  async freeze(walls, { wall, hold }) {
    const { enclosure } = walls.find(wall)
    if (hold !== undefined) walls.extend(wall, hold)
    return { value: { took: await enclosure.freeze() } }
  },
  async thaw(walls, { wall }) {
    await walls.find(wall).enclosure.thaw()
    return { value: null }
  },
  async memory(walls, { wall }) {
    const { enclosure } = walls.find(wall)
    return { value: null, handover: { wall, handle: await memoryOf(enclosure).open() } }
  },
  async capture(walls, { wall, bytes }) {
    return { value: await memoryOf(walls.find(wall).enclosure).capture(bytes) }
  },
}

/** Binds a wall to a tenant and a job. The listener is opened or closed before the job is sent. */
async function claim(walls: LiveWalls, asked: RequestOf<'claim'>): Promise<Answer> {
  const { tenant, deadline, egress, isShort = false, isBehind = false, ...bounds } = asked
  const wall = walls.find(asked.wall)
  wall.life.claim(tenant, bounds)
  const { enclosure } = wall
  const { spent, enforced, bytes, idleBytes } = await enclosure.claim({
    ...bounds,
    ...(egress && { egress: true }),
  })
  // Race: throws NOT_FOUND if the wall ended during the claim.
  walls.find(asked.wall)
  // Fails closed: an engine without program zones would run the job without a bound of its schedule.
  if (bounds.zones && !spent && !enclosure.zones) throw unable(wall.id, 'make program zones in')
  const value: ClaimResult = { spent, enforced }
  if (spent) return { value }
  walls.hold(wall, deadline, { bytes, idleBytes, isShort, isBehind })
  const listener = egress ? await enclosure.openEgress() : undefined
  // Without this a program could connect to a socket on which no process accepts.
  if (!egress) enclosure.closeEgress()
  return { value, ...(listener && { handover: { wall: wall.id, handle: listener } }) }
}

async function usage(
  wall: LiveWall,
  execEnded: RequestOf<'usage'>['execEnded'],
): Promise<WallUsage> {
  const usage = await wall.enclosure.usage()
  const limit = execEnded === 'failed' ? await wall.limitUse(true) : {}
  if (execEnded === 'ok') await wall.enclosure.countAnew?.()
  return { ...usage, ...limit, ...(wall.isOutOfMemory && { isOutOfMemory: true }) }
}

async function tighten(wall: LiveWall, asked: RequestOf<'tighten'>): Promise<BoundMechanisms> {
  const { zone, memory, cpu, io, processes } = asked
  const bounds = present({ memory, cpu, io, processes })
  if (zone === undefined) return await tightenWhole(wall, bounds)
  const { zones } = wall.enclosure
  if (zones) return zones.tighten(zone, bounds)
  throw new MayflyError('NOT_FOUND', `Cannot find zone "${zone}" of wall "${wall.id}": it has none`)
}

/** A later order must not ask the engine again for what it refused. */
async function tightenWhole(
  { enclosure, life }: LiveWall,
  asked: Partial<EnclosureBounds>,
): Promise<BoundMechanisms> {
  const { next, settle } = life.tighten(asked)
  try {
    const held = await enclosure.tighten(next)
    settle(true)
    return held
  } catch (thrown) {
    settle(false)
    throw thrown
  }
}

async function endZone(walls: LiveWalls, id: string, zone: string) {
  const began = performance.now()
  const wall = walls.all().find((one) => one.id === id)
  await wall?.enclosure.zones?.end(zone)
  return { took: performance.now() - began }
}

/** Fails closed: ends a wall whose calls may still be open. One whose programs have ended ends by itself, and so keeps its exit. */
async function closeCalls(wall: LiveWall, { phases }: RequestOf<'calls'>) {
  const { calls } = wall.enclosure
  if (!calls) throw unable(wall.id, 'close calls of')
  try {
    return await calls.close(phases)
  } catch (error) {
    const hasEnded = error instanceof MayflyError && error.code === 'NOT_FOUND'
    if (wall.enclosure.wall.calls.length > 0 && !hasEnded) wall.end('killed')
    throw error
  }
}

function memoryOf({ id, memory }: Enclosure) {
  if (memory) return memory
  throw unable(id, 'capture the memory of')
}

function unable(id: string, verb: string): MayflyError {
  return new MayflyError(
    'UNAVAILABLE',
    `Cannot ${verb} wall "${id}": its engine does not support it`,
  )
}
