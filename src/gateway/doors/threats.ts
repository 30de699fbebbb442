import type { ServerResponse } from 'node:http'
import type { HttpBindings } from '@hono/node-server'
import { MayflyError } from '../../contract/error.ts'
import type { Reading } from '../../telemetry/instrument.ts'
import { gauge } from '../../telemetry/meters.ts'
import type { Threat, Threats } from '../../telemetry/threats.ts'
import { authenticate, authorise, isAdmin } from '../http/auth.ts'
import type { Door } from '../http/door.ts'
import type { Identity, Keys } from '../http/keys.ts'
import { json } from '../http/reply.ts'

const readersMax = 64
const readersOfKeyMax = 8
/** Bytes that may wait for a reader; one that is slower is cut off. */
const waitingBytesMax = 256 * 2 ** 10
const keepAliveMsUsual = 15_000
const listedMax = 500

/** `GET /v1/threats`: the last threats, oldest first: a tenant's own, and all of them for an admin. */
export function listThreats(door: Door, { incoming }: HttpBindings, who: Identity): Response {
  const after = numberIn(new URLSearchParams(incoming.url?.split('?')[1]).get('after'))
  return json(door.threats.after(after, tenantOf(who)).slice(-listedMax))
}

/**
 * `GET /v1/threats/stream`: the same as they come, as server-sent events. A reader that lost its connection goes on
 * where it was, by `Last-Event-ID`, as far as they are kept; one that reads too slowly is cut off.
 */
export function streamThreats(door: Door, http: HttpBindings, who: Identity): Response {
  const { incoming, outgoing } = http
  if (incoming.method === 'HEAD') return new Response(null, { headers: eventStream })
  door.running.refuseWhenDraining()
  const after = incoming.headers['last-event-id']
  const { authorization } = incoming.headers
  door.threatReaders.add(outgoing, {
    key: who.id,
    mayStill: () => mayRead(authorization, door.keys),
    tenant: tenantOf(who),
    after: after === undefined ? undefined : numberIn(String(after)),
  })
  return new Response(null, { headers: { 'x-hono-already-sent': 'true' } })
}

const eventStream = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'x-accel-buffering': 'no',
}

export interface Wish {
  readonly key: string
  /** Asked with every keep-alive: whoever's key was revoked is not told any more. */
  readonly mayStill: () => boolean
  /** Undefined: those of every tenant. */
  readonly tenant: string | undefined
  /** The last that was read; undefined: only what is new. */
  readonly after: number | undefined
}

/** Who listens: how many there may be, and how they come to an end. */
export class ThreatReaders {
  readonly #threats: Threats
  readonly #keepAliveMs: number
  readonly #live = new Map<ServerResponse, string>()
  #dropped = 0

  constructor(threats: Threats, keepAliveMs = keepAliveMsUsual) {
    this.#threats = threats
    this.#keepAliveMs = keepAliveMs
  }

  /** Throws MayflyError OVERLOADED or RATE_LIMITED. */
  add(outgoing: ServerResponse, { key, mayStill, tenant, after }: Wish): void {
    this.#refuseTooMany(key)
    this.#live.set(outgoing, key)
    outgoing.writeHead(200, eventStream)
    outgoing.write(': threats\n\n')
    const send = (threat: Threat): void => {
      if (tenant === undefined || threat.tenant === tenant) this.#send(outgoing, frameOf(threat))
    }
    if (after !== undefined) for (const one of this.#threats.after(after)) send(one)
    const leave = this.#threats.listen(send)
    const timer = setInterval(() => {
      if (mayStill()) this.#send(outgoing, ': quiet\n\n')
      else outgoing.end()
    }, this.#keepAliveMs)
    outgoing.once('close', () => {
      clearInterval(timer)
      leave()
      this.#live.delete(outgoing)
    })
  }

  /** Ends every stream, since they would never end by themselves. */
  end(): void {
    for (const outgoing of this.#live.keys()) outgoing.end()
  }

  readings(): readonly Reading[] {
    return [
      gauge('mayfly.threat.readers', 'Readers of the stream of threats', '{reader}', [
        [{}, this.#live.size],
      ]),
      {
        name: 'mayfly.threat.readers.dropped',
        description: 'Readers of the stream of threats that were too slow',
        unit: '{reader}',
        kind: 'counter',
        series: [{ labels: {}, value: this.#dropped }],
      },
    ]
  }

  #refuseTooMany(key: string): void {
    const own = [...this.#live.values()].filter((one) => one === key).length
    if (own >= readersOfKeyMax)
      throw new MayflyError('RATE_LIMITED', 'Cannot take another reader of this key', {
        retryAfterMs: 5000,
      })
    if (this.#live.size >= readersMax)
      throw new MayflyError('OVERLOADED', 'Cannot take another reader now', { retryAfterMs: 5000 })
  }

  #send(outgoing: ServerResponse, text: string): void {
    if (outgoing.destroyed || outgoing.writableEnded) return
    if (outgoing.writableLength + text.length > waitingBytesMax) {
      this.#dropped += 1
      outgoing.destroy()
      return
    }
    outgoing.write(text)
  }
}

/** JSON has no line breaks: nothing that a name holds can begin a frame of its own. */
function frameOf(threat: Threat): string {
  return `id: ${threat.seq}\nevent: threat\ndata: ${JSON.stringify(threat)}\n\n`
}

function mayRead(authorization: string | undefined, keys: Keys): boolean {
  try {
    authorise(authenticate(authorization, keys), ['read'])
    return true
  } catch {
    return false
  }
}

function tenantOf(who: Identity): string | undefined {
  return isAdmin(who) ? undefined : who.tenant
}

/** A number that is none means from the beginning. */
function numberIn(text: string | null): number {
  const number = Number(text)
  return Number.isSafeInteger(number) && number > 0 ? number : 0
}
