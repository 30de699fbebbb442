import type { ServerResponse } from 'node:http'
import { MayflyError } from '../../contract/error.ts'
import type { Reading } from '../../telemetry/instrument.ts'
import { gauge } from '../../telemetry/meters.ts'
import type { ThreatRow } from '../../contract/answers.ts'
import type { Threats } from '../../telemetry/threats.ts'
import { eventStream } from './event-stream.ts'
import { FairShare } from './fair-share.ts'

const readersMax = 64
const readersOfKeyMax = 8
/** Output buffer of one reader, beside the stored threats that it resumes with; a slower reader is disconnected. */
const waitingBytesMax = 256 * 2 ** 10
const keepAliveMsUsual = 15_000

export interface ThreatSubscription {
  readonly key: string
  /** Tenant of the key, which has a fair share of all streams. */
  readonly of: string
  /** Checked at every keep-alive, so that a revoked key stops receiving threats. */
  readonly isStillAllowed: () => boolean
  /** Undefined: every tenant. */
  readonly tenant: string | undefined
  /** Sequence number of the last threat read; undefined: new ones only. */
  readonly after: number | undefined
}

/** Subscribers of the threat stream: limits their number, and ends them when the server drains. */
export class ThreatReaders {
  readonly #threats: Threats
  readonly #keepAliveMs: number
  readonly #live = new Map<ServerResponse, string>()
  readonly #places = new FairShare(readersMax)
  #dropped = 0

  constructor(threats: Threats, keepAliveMs = keepAliveMsUsual) {
    this.#threats = threats
    this.#keepAliveMs = keepAliveMs
  }

  /** Throws MayflyError OVERLOADED or RATE_LIMITED. */
  add(outgoing: ServerResponse, subscription: ThreatSubscription): void {
    const { key, of, isStillAllowed, tenant, after } = subscription
    const place = this.#place(key, of)
    this.#live.set(outgoing, key)
    outgoing.writeHead(200, eventStream)
    const stored = after === undefined ? [] : this.#threats.after(after, tenant)
    // Not bounded as the rest: a ring of stored threats is larger than the buffer of a reader.
    outgoing.write(`: threats\n\n${stored.map(frameOf).join('')}`)
    const bytesMax = outgoing.writableLength + waitingBytesMax
    const send = (threat: ThreatRow): void => {
      if (tenant === undefined || threat.tenant === tenant)
        this.#send(outgoing, frameOf(threat), bytesMax)
    }
    const leave = this.#threats.listen(send)
    const timer = setInterval(() => {
      if (isStillAllowed()) this.#send(outgoing, ': quiet\n\n', bytesMax)
      else outgoing.end()
    }, this.#keepAliveMs)
    outgoing.once('close', () => {
      clearInterval(timer)
      leave()
      this.#live.delete(outgoing)
      place[Symbol.dispose]()
    })
  }

  /** Ends every stream; a drain would otherwise wait for them forever. */
  end(): void {
    for (const outgoing of this.#live.keys()) outgoing.end()
  }

  readings(): readonly Reading[] {
    return [
      gauge(
        'mayfly.threat.readers',
        'Readers of the stream of threats',
        '{reader}',
        this.#live.size,
      ),
      {
        name: 'mayfly.threat.readers.dropped',
        description: 'Readers of the stream of threats that were too slow',
        unit: '{reader}',
        kind: 'counter',
        series: [{ labels: {}, value: this.#dropped }],
      },
    ]
  }

  #place(key: string, of: string): Disposable {
    const own = [...this.#live.values()].filter((one) => one === key).length
    const place = this.#places.hold(of)
    if (own < readersOfKeyMax && place.add(1)) return place
    const [code, why] =
      own >= readersOfKeyMax
        ? (['RATE_LIMITED', 'this key has too many'] as const)
        : this.#places.isHeldBy(of)
          ? (['RATE_LIMITED', 'this tenant uses its share'] as const)
          : (['OVERLOADED', 'all are in use'] as const)
    const message = `Cannot open another threat stream: ${why}`
    throw new MayflyError(code, message, { retryAfterMs: 5000 })
  }

  #send(outgoing: ServerResponse, text: string, bytesMax: number): void {
    if (outgoing.destroyed || outgoing.writableEnded) return
    if (outgoing.writableLength + text.length > bytesMax) {
      this.#dropped += 1
      outgoing.destroy()
      return
    }
    outgoing.write(text)
  }
}

/** JSON escapes line breaks, so no field can inject an SSE frame. */
function frameOf(threat: ThreatRow): string {
  return `id: ${threat.seq}\nevent: threat\ndata: ${JSON.stringify(threat)}\n\n`
}
