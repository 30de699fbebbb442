import * as z from 'zod'
import { MayflyError } from '../contract/error.ts'
import { tryParseJson } from '../lib/parse-json.ts'
import { RateBucket } from '../lib/rate-bucket.ts'
import type { ChannelLimits } from './channel-limits.ts'
import type { ChannelEnds } from './channel-reach.ts'

/** Capability that carries all messages between zones and the exchange; zones have no other connection. */
export const channelCapability = 'mayfly.zone'

/** Limits of one channel over its life, and of calls waiting in it. */
export interface ChannelBudget {
  readonly calls: number
  /** Arguments and answers together, in UTF-16 units of JSON. */
  readonly units: number
  readonly unitsOfOne: number
  readonly waiting: number
}

export const defaultBudget: ChannelBudget = {
  calls: 10_000,
  units: 64 * 2 ** 20,
  unitsOfOne: 2 ** 20,
  waiting: 64,
}

/** Report that a channel refused a call or was revoked. */
export interface ChannelNote extends ChannelEnds {
  readonly what: 'refused' | 'revoked'
  readonly why: string
}

export interface ExchangeParts {
  /** Channels by caller; all others are forbidden. */
  readonly permitted: ReadonlyMap<string, readonly string[]>
  readonly budget?: ChannelBudget
  /** Limits of single channels, within the budget of all. */
  readonly limits?: (ends: ChannelEnds) => ChannelLimits
  /** Milliseconds, for rates. */
  readonly now?: () => number
  readonly note: (note: ChannelNote) => void
}

/** Limit of pending calls of one life; it also ends call cycles. */
const waitingMax = 256
/** Limit of reports of one life; calls beyond it are still refused. */
const notesMax = 64

const request = z.union([
  z.strictObject({ to: z.string().max(200), args: z.unknown() }),
  z.strictObject({ next: z.literal(true) }),
  z.strictObject({
    reply: z.strictObject({
      id: z.number().int().min(1),
      value: z.unknown().optional(),
      error: z
        .union([
          z.strictObject({
            isError: z.literal(true),
            name: z.string().max(1000),
            message: z.string().max(65_536),
          }),
          z.strictObject({ isError: z.literal(false), value: z.unknown() }),
        ])
        .optional(),
    }),
  }),
])

interface Call {
  readonly id: number
  readonly from: string
  readonly to: string
  readonly args: unknown
  readonly settle: PromiseWithResolvers<string>
}

interface Channel extends ChannelEnds {
  readonly limits: Pick<ChannelBudget, 'calls' | 'units'>
  readonly rate: ChannelRate | undefined
  calls: number
  units: number
  waiting: number
  closed: string | undefined
}

interface ChannelRate {
  readonly perSecond: number
  readonly bucket: RateBucket
}

interface Zone {
  readonly name: string
  readonly queue: Call[]
  next: ((text: string) => void) | undefined
  ended: string | undefined
}

/**
 * Message broker between the zones of one life.
 *
 * Problem: zones are mutually distrusting walls that call each other's functions; any of them may be hostile, flood
 * others or never answer.
 *
 * Mechanism: calls travel as JSON text, are validated on every hop, and an answer is accepted only from the zone that
 * was handed the call. A channel is a (caller, callee) pair permitted before the life begins, with budgets for calls,
 * data and pending calls. Revoking a channel or ending a zone rejects its pending calls at once.
 *
 * Not handled here: deadlines of single calls, since a zone's own schedule ends it, and indirect ways back to lost
 * rights (`channel-reach.ts`). The broker never waits for a zone.
 */
export class Exchange {
  readonly #channels = new Map<string, Channel>()
  readonly #zones = new Map<string, Zone>()
  readonly #waiting = new Map<number, Call>()
  readonly #budget: ChannelBudget
  readonly #note: ExchangeParts['note']
  readonly #now: () => number
  #lastId = 0
  #notes = 0

  constructor({ permitted, budget = defaultBudget, limits, now, note }: ExchangeParts) {
    this.#budget = budget
    this.#note = note
    this.#now = now ?? (() => performance.now())
    for (const [from, names] of permitted) {
      for (const name of [from, ...names])
        this.#zones.set(name, { name, queue: [], next: undefined, ended: undefined })
      for (const to of names)
        this.#channels.set(keyOf(from, to), this.#opened({ from, to }, limits?.({ from, to })))
    }
  }

  #opened(ends: ChannelEnds, { permit, ...own }: ChannelLimits = { permit: true }): Channel {
    const { calls, units } = this.#budget
    return {
      ...ends,
      limits: {
        calls: Math.min(calls, own.calls ?? calls),
        units: Math.min(units, own.units ?? units),
      },
      rate: own.callsPerSecond === undefined ? undefined : this.#rateOf(own.callsPerSecond),
      calls: 0,
      units: 0,
      waiting: 0,
      closed: permit ? undefined : 'its schedule closes this channel',
    }
  }

  /** Bucket of one second's worth, at least one call. */
  #rateOf(perSecond: number): ChannelRate {
    const burst = Math.max(1, perSecond)
    return {
      perSecond,
      bucket: new RateBucket({ burst, eachMs: perSecond / 1000, now: this.#now }),
    }
  }

  /** Handles a message of a zone and resolves with its answer, both as JSON text. Rejects with MayflyError. */
  async handle(zone: string, text: string): Promise<string> {
    const said = request.safeParse(tryParseJson(text)).data
    const from = this.#zones.get(zone)
    if (!said || !from || from.ended !== undefined)
      throw new MayflyError('FORBIDDEN', `Cannot use a channel of "${zone}": it has none open`)
    if ('to' in said) return await this.#call(zone, said.to, said.args, text.length)
    if ('next' in said) return await this.#next(from)
    this.#reply(from, said.reply, text.length)
    return 'null'
  }

  /** Callers of a zone with their number of calls. */
  callersOf(zone: string): Readonly<Record<string, number>> {
    const called = [...this.#channels.values()].filter(({ to, calls }) => to === zone && calls > 0)
    return Object.fromEntries(called.map(({ from, calls }) => [from, calls]))
  }

  /** Closes all channels of a zone and rejects pending calls. Idempotent. */
  end(zone: string, why: string): void {
    const ended = this.#zones.get(zone)
    if (!ended || ended.ended !== undefined) return
    ended.ended = why
    for (const channel of this.#channels.values())
      if (channel.from === zone || channel.to === zone) this.#close(channel, why)
    ended.next?.('{"over":true}')
    ended.next = undefined
  }

  /** Permitted channels that are neither revoked nor ended. */
  get open(): readonly ChannelEnds[] {
    return [...this.#channels.values()].filter(({ closed }) => closed === undefined)
  }

  /** Closes a channel permanently and reports it once. Idempotent. */
  revoke({ from, to }: ChannelEnds, why: string): void {
    const channel = this.#channels.get(keyOf(from, to))
    if (!channel || channel.closed !== undefined) return
    this.#close(channel, why)
    this.#report(channel, 'revoked', why)
  }

  #call(from: string, to: string, args: unknown, units: number): Promise<string> {
    const channel = this.#channels.get(keyOf(from, to))
    const why = channel ? this.#refusal(channel, units) : 'no such channel is permitted'
    if (!channel || why !== undefined) {
      this.#report({ from, to }, 'refused', why!)
      const message = `Cannot call "${to.slice(0, 100)}": ${why}`
      return Promise.reject(new MayflyError('FORBIDDEN', message))
    }
    channel.calls++
    channel.units += units
    channel.waiting++
    const call: Call = { id: ++this.#lastId, from, to, args, settle: Promise.withResolvers() }
    this.#waiting.set(call.id, call)
    this.#deliver(this.#zones.get(to)!, call)
    return call.settle.promise
  }

  #refusal(channel: Channel, units: number): string | undefined {
    const budget = this.#budget
    const { limits, rate } = channel
    if (channel.closed !== undefined) return channel.closed
    if (channel.calls >= limits.calls) return `its channel carries ${limits.calls} calls`
    if (units > budget.unitsOfOne) return 'its arguments are too large for its channel'
    if (channel.units + units > limits.units) return 'its channel carries no more data'
    const isFull = channel.waiting >= budget.waiting || this.#waiting.size >= waitingMax
    if (isFull) return 'too many calls are waiting already'
    return rate && !rate.bucket.take()
      ? `its channel carries ${rate.perSecond} calls a second`
      : undefined
  }

  #deliver(zone: Zone, call: Call): void {
    const { next } = zone
    if (!next) return void zone.queue.push(call)
    zone.next = undefined
    next(callText(call))
  }

  #next(zone: Zone): Promise<string> {
    // A second concurrent `next` ends the first, so that a call is delivered once.
    zone.next?.('{"over":true}')
    zone.next = undefined
    const call = zone.queue.shift()
    if (call) return Promise.resolve(callText(call))
    return new Promise((resolve) => void (zone.next = resolve))
  }

  #reply(
    zone: Zone,
    reply: Extract<z.infer<typeof request>, { reply: unknown }>['reply'],
    units: number,
  ): void {
    const call = this.#waiting.get(reply.id)
    if (!call || call.to !== zone.name || zone.queue.includes(call))
      throw new MayflyError('FORBIDDEN', 'Cannot answer a call: this zone was not asked')
    const channel = this.#channels.get(keyOf(call.from, call.to))!
    channel.units += units
    const isOver = units > this.#budget.unitsOfOne || channel.units > channel.limits.units
    const { value = null, error } = reply
    if (isOver) {
      const why = 'its answer is too large for its channel'
      this.#report(channel, 'refused', why)
      this.#settle(call).reject(refused(call, why))
    } else this.#settle(call).resolve(JSON.stringify(error === undefined ? { value } : { error }))
  }

  #close(channel: Channel, why: string): void {
    channel.closed ??= why
    for (const call of this.#waiting.values()) {
      if (call.from !== channel.from || call.to !== channel.to) continue
      this.#settle(call).reject(refused(call, why))
      const { queue } = this.#zones.get(call.to)!
      const place = queue.indexOf(call)
      if (place >= 0) queue.splice(place, 1)
    }
  }

  /** Ends the wait for an answer, which the caller resolves or rejects. */
  #settle(call: Call): Call['settle'] {
    this.#waiting.delete(call.id)
    this.#channels.get(keyOf(call.from, call.to))!.waiting--
    return call.settle
  }

  #report({ from, to }: ChannelEnds, what: ChannelNote['what'], why: string): void {
    if (this.#notes++ < notesMax) this.#note({ from, to: to.slice(0, 100), what, why })
  }
}

function keyOf(from: string, to: string): string {
  return JSON.stringify([from, to])
}

function callText({ id, args }: Call): string {
  return JSON.stringify({ id, args })
}

function refused({ to }: Call, why: string): MayflyError {
  return new MayflyError('FORBIDDEN', `Cannot call "${to}": ${why}`)
}
